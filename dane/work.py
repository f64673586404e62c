"""The budget of work for one chain, in steps.

The chain, its names and constraints, and the TLSA records are all of a stranger's choosing,
and what they cost multiplies: paths by constraints by names, records by certificates. So one
budget covers everything that one verification does. It is counted in steps and not in
seconds, so that the same input has the same verdict on every machine and on every day.
"""

MOST_STEPS = 60_000
"""Steps for one chain. A step is work of about a microsecond (bench/verify.py): a chain as
mail servers send it takes some hundred."""

SHORT_STEPS = 6_000
"""Steps that an event loop can spare; a chain that needs more is verified in a thread."""


class Exhausted(Exception):
    """The budget is used up. The answer is "could not be read", never "no"."""


class Work:
    """What is left of one budget."""

    __slots__ = ("_left",)

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps before the work is done. Raises Exhausted, and from then on always."""
        self._left -= steps
        if self._left < 0:
            raise Exhausted

    @property
    def exhausted(self) -> bool:
        """Whether anything was left undone."""
        return self._left < 0
