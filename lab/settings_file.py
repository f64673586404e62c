"""The danesurvey.toml with which a survey of the lab runs.

A survey of the lab differs from a real one in this file only: the lab's root, its canaries,
where the probe may connect to, and waits of a second where a real survey waits for hours.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from dane import clock
from lab import addresses, plan

_TEMPLATE = """\
# A survey of the lab. Written by `danesurvey lab up`. The environment does not change it.
state_dir = {state_dir}

[lab]
identity = {identity}
days_ahead = {days_ahead}

[resolver]
root_hints = {root_hints}
trust_anchor = {trust_anchor}
query_localhost = true
ipv6 = false

[client]
questions_per_s_per_name_server_set = 100000.0
passes_s = [0.5, 1.0, 2.0]
flush_every_s = 0.3
direct_try_s = 0.5
servers_again_s = 1.0

[canaries]
zones = [".", {canary}, {canary_rsa}]
signed = {canary}
broken = {canary_broken}
algorithms = {{ "13" = {canary}, "8" = {canary_rsa} }}
every_s = 2.0
recovery_s = 30.0

[probe]
ehlo_name = "survey.plain"
contact = "postmaster@survey.plain"
information_page = "https://survey.plain/"
lab_addresses = {probed}
connect_s = 3.0
reply_s = 25.0
tls_s = 5.0
session_s = 60.0
new_per_s = 1000.0
per_operator = 50
address_interval_s = 0.0
most_per_operator = 1000000
most_per_network = 1000000
attempts_after_s = [0.5, 0.5]
"""
_ZONE = """
[[zones]]
zone = {zone}
kind = "file"
path = {path}
"""


def write(path: Path, directory: Path, zones: Mapping[str, str]) -> None:
    """Writes the settings of a survey whose intake reads `zones` (origin to file).

    The files that they name are in `directory`, root hints and trust anchor already.
    """
    anchor = directory / "root.anchor"
    text = _TEMPLATE.format(
        state_dir=_quoted(directory / "state"),
        identity=_quoted(_identity(anchor)),
        days_ahead=clock.days_ahead(),
        root_hints=_quoted(directory / "root.hints"),
        trust_anchor=_quoted(anchor),
        canary=_quoted(plan.CANARY),
        canary_rsa=_quoted(plan.CANARY_RSA),
        canary_broken=_quoted(plan.CANARY_BROKEN),
        probed=json.dumps(list(addresses.PROBED_NETWORKS)),
    )
    for zone, file in zones.items():
        text += _ZONE.format(zone=_quoted(zone), path=_quoted(file))
    path.write_text(text, encoding="utf-8")


def _identity(trust_anchor: Path) -> str:
    """Of the Internet below this root: the same for all labs of a seed, whatever they hold."""
    return trust_anchor.read_text(encoding="ascii").split()[-1][:16]


def _quoted(value: object) -> str:
    """A basic string of TOML (JSON's escapes are among TOML's)."""
    return json.dumps(str(value))
