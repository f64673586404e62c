"""Servers that let a client compute as much as they can: bounded, and never at others' cost."""

import dataclasses

import pytest
import trio

from crawler.smtp.probe import MAX_SESSION, Conversation, converse
from crawler.smtp.tls import Offer
from dane.outcomes import AfterTLS, HostStatus
from tests.smtp_servers import SMTP, Town
from tests.support.conversations import PATIENT
from tests.support.hostile_tls import HOSTILE
from tests.support.loop_steps import LoopSteps

LONGEST_STEP_S = 0.05
"""Nothing that a stranger sizes may hold the loop for longer."""

FLOODS = [name for name in HOSTILE if "flood" in name or "without end" in name or "byte" in name]


def visit(name: str) -> tuple[Conversation, LoopSteps]:
    town, steps = Town(), LoopSteps()
    address = town.add(SMTP(instead_of_tls=HOSTILE[name]()))
    with town:
        settings = dataclasses.replace(PATIENT, port=town.port, reply_s=2, tls_s=20)
        seen = trio.run(
            converse, address, "mx.example", Offer.MODERN, settings, "me.example",
            instruments=[steps],
        )  # fmt: skip
    return seen, steps


@pytest.mark.parametrize("name", HOSTILE)
def test_no_server_holds_the_loop(name: str) -> None:
    seen, steps = visit(name)
    assert steps.longest_s < LONGEST_STEP_S
    assert seen.error


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_at_the_byte_bound_and_the_certificate_counts(name: str) -> None:
    seen, _ = visit(name)
    assert (seen.status, len(seen.chain)) == (None, 1)
    assert seen.error in (
        f"over {MAX_SESSION} bytes in one session",
        "a line over 2048 bytes",
        "record too small",  # OpenSSL counts empty ones
    )
    assert seen.after_tls in (AfterTLS.CLOSED, AfterTLS.GARBLED)


def test_the_largest_rsa_key_is_read() -> None:
    seen, _ = visit("RSA-16384 with an exponent of 64 bits")
    assert (seen.status, len(seen.chain), seen.after_tls) == (None, 1, AfterTLS.SILENT)


def test_a_chain_of_16_mib_is_refused_unread() -> None:
    seen, _ = visit("a chain of 16 MiB")
    assert (seen.status, seen.chain) == (HostStatus.TLS_FAILED, ())
    assert seen.error == "excessive message size"


def test_all_certificates_of_one_name_are_there_in_the_order_sent() -> None:
    seen, _ = visit("250 authorities of one name")
    assert (seen.status, len(seen.chain)) == (None, 251)
