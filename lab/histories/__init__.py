"""Histories: what happens in the lab from day to day, and what a survey must find on which day.

Read `history` first. `breaking` is about failures, `renewing` about certificates and keys,
`providers` about many domains at once. `danesurvey lab history` lives through all of them
together, in one lab.
"""

from lab.histories.breaking import BREAKING
from lab.histories.history import Found, Full, History
from lab.histories.providers import PROVIDERS
from lab.histories.renewing import RENEWING

__all__ = ["HISTORIES", "Found", "Full", "History"]

HISTORIES: tuple[History, ...] = (*BREAKING, *RENEWING, *PROVIDERS)
