"""What people get wrong about where TLSA records belong: sentences of `check`."""

from collections.abc import Iterable
from typing import Any

from crawler.scan.misplaced import Misplaced
from dane.outcomes import WrongPractice

MEANING: dict[WrongPractice, str] = {
    WrongPractice.AT_DOMAIN: "TLSA records at {name}: senders look below the MX host {host}, not "
    "below the mail domain (RFC 7672, 2.2.3)",
    WrongPractice.OTHER_PORT: "TLSA records at {name}: they speak of another port; mail from other "
    "servers comes to port 25",
    WrongPractice.WITHOUT_UNDERSCORE: "TLSA records at {name}: the port and the protocol begin "
    "with an underscore (RFC 6698, 3)",
    WrongPractice.HIDES_WILDCARD: "{host} exists only by the wildcard {wildcard}, and the TLSA "
    "records below it hide the wildcard: a name with something below it exists, so it has no "
    "address any more (RFC 4592, 2.2.2)",
}

REPAIR: dict[WrongPractice, str] = {
    WrongPractice.AT_DOMAIN: "Publish the TLSA records of {host} at _25._tcp.{host}. The zone of "
    "{host} must be signed.",
    WrongPractice.OTHER_PORT: "Publish the TLSA records of {host} at _25._tcp.{host}, too.",
    WrongPractice.WITHOUT_UNDERSCORE: "Rename the TLSA records to _25._tcp.{host}.",
    WrongPractice.HIDES_WILDCARD: "Publish the addresses of {wildcard} at {host} itself, beside "
    "its TLSA records.",
}


def documents(found: Iterable[Misplaced]) -> list[dict[str, Any]]:
    """The part of a document that tells of misplaced records."""
    return [
        {
            "practice": one.practice,
            "host": one.host,
            "name": one.name,
            "records": list(one.records),
            "wildcard": one.wildcard,
            "meaning": _filled(MEANING, one),
        }
        for one in found
    ]


def causes(found: Iterable[Misplaced]) -> list[str]:
    return [_filled(MEANING, one) for one in found]


def repairs(found: Iterable[Misplaced]) -> list[dict[str, Any]]:
    """One repair a host and practice: the same records in three places need it once."""
    texts = {(one.host, _filled(REPAIR, one)): None for one in found}
    return [{"host": host, "text": text, "records": []} for host, text in texts]


def _filled(table: dict[WrongPractice, str], one: Misplaced) -> str:
    return table[one.practice].format(host=one.host, name=one.name, wildcard=one.wildcard)
