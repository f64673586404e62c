"""What a check is, and what it looks at.

A check is a row in a table: a name, what its failure would do to a survey, what to do about
it, and a function that looks. The function returns what it saw, raises `Unwell` with what is
wrong, or `NotApplicable` with why it need not look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from crawler.dns.unbound import Unbound
from danesurvey.settings import Settings


class Harm(StrEnum):
    """What a failure would do to a survey."""

    FALSIFIES = "falsifies"  # our own fault would be taken for a domain's: no survey starts
    PREVENTS = "prevents"  # a stage cannot be done
    WORSENS = "worsens"  # slower, or less complete, or less welcome


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Unwell(Exception):
    """The check fails; the text says what was seen."""


class NotApplicable(Exception):
    """There is nothing to look at here; the text says why."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the checks look at. `resolvers`: the first one, and the one for second looks."""

    settings: Settings
    resolvers: Sequence[Unbound] = ()
    database_url: str | None = None

    @property
    def is_lab(self) -> bool:
        """No Internet here: routes, PTR and the like are not to be had."""
        return self.settings.is_lab

    @property
    def resolver(self) -> Unbound:
        """The first one. Raises NotApplicable without any."""
        return self.each_resolver[0]

    @property
    def each_resolver(self) -> Sequence[Unbound]:
        if not self.resolvers:
            raise NotApplicable("no resolver to ask")
        return self.resolvers


Look = Callable[[Situation], str]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    harm: Harm
    advice: str
    look: Look
    needs: str | None = None  # another check; where that one fails, this one is skipped


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check."""

    check: Check
    outcome: Outcome
    detail: str
