"""Who must not be connected to. Asked again before each connection (docs/ethics.md)."""

from crawler.addresses import Addresses
from crawler.opt_out import OptOut
from crawler.scan.context import Family, ScanContext
from crawler.scan.judgement import Judged, untouched
from crawler.scan.target import Key
from crawler.smtp.etiquette import missing_identity
from dane.outcomes import HostStatus


class Permission:
    """By the context of one scan and the opt-out list as it is now."""

    def __init__(self, context: ScanContext) -> None:
        self._addresses = Addresses(context.probe.lab_addresses)
        self._refusals: dict[str, str | None] = {}  # by address: they do not change
        self._opt_out = OptOut(context.probe.opt_out)
        self._families = context.families
        self._anonymous = bool(missing_identity(context.probe))
        self._ehlo_name = context.probe.ehlo_name

    def refusal(self, key: Key) -> Judged | None:
        """Why this address must be left alone; None if it may be connected to.

        Raises UsageFault for an opt-out list that cannot be read.
        """
        if self._anonymous and not self._addresses.is_lab(key.address):
            return untouched(HostStatus.UNPROBED, "no identity is set (docs/ethics.md)")
        if key.address not in self._refusals:
            self._refusals[key.address] = self._addresses.refusal(key.address)
        if (reason := self._refusals[key.address]) is not None:
            return untouched(HostStatus.RESERVED_ADDRESS, reason)
        names = key.host, key.sni
        if self._opt_out.covers(names=names, operator=key.operator, address=key.address):
            return untouched(HostStatus.OPTED_OUT, "on the opt-out list")
        family: Family = 6 if ":" in key.address else 4
        if family not in self._families:
            return untouched(HostStatus.UNPROBED, f"no IPv{family} here")
        if self._ehlo_name in names:
            return untouched(HostStatus.UNPROBED, "the server's own name is our EHLO name")
        return None
