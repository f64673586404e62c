"""One conversation of the probe with one server of a test."""

import dataclasses

import trio

from crawler.smtp.probe import Conversation, converse
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer
from tests.smtp_servers import Server, Town

PATIENT = ProbeSettings(lab_addresses=("127.0.0.0/8",), connect_s=5, reply_s=5, tls_s=5)


def talk(
    server: Server, settings: ProbeSettings = PATIENT, offer: Offer = Offer.MODERN
) -> Conversation:
    """What `converse` shows of a server at a loopback address of its own."""
    town = Town()
    address = town.add(server)
    with town:
        at_port = dataclasses.replace(settings, port=town.port)
        return trio.run(converse, address, "mx.example", offer, at_port, "survey.example")
