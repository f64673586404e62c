"""The preflight: would a survey on this machine, now, tell the truth, and could it work?

    for result in examine(settings): ...     # `danesurvey doctor`: everything
    refuse_falsified(settings, resolvers)    # before a survey: what would falsify it

`CHECKS` is the whole of it. A check that needs what another one found missing is skipped.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from crawler.dns.configuration import ADDRESS, CONTROL
from crawler.dns.unbound import Unbound, home, is_served
from dane.faults import Fault, LocalTrouble, Refused
from danesurvey import embedded
from danesurvey.address_space import require_address_space
from danesurvey.doctor import database, identity, machine, resolver
from danesurvey.doctor.check import (
    Check,
    Harm,
    NotApplicable,
    Outcome,
    Result,
    Situation,
    Unwell,
)
from danesurvey.owner import claim
from danesurvey.settings import Settings

__all__ = ["CHECKS", "Harm", "Outcome", "Result", "examine", "refuse_falsified", "verdict"]

_FALSIFIES, _PREVENTS, _WORSENS = Harm.FALSIFIES, Harm.PREVENTS, Harm.WORSENS


_PORT_25 = Check("port_25", _FALSIFIES, "ask the network's operator to open port 25 outward, or "
                 "run the probe elsewhere", identity.port_25)  # fmt: skip
STATE = (
    Check("state_dir", _PREVENTS, "give it a directory that only we can write to (state_dir, "
          "publish.directory)", machine.state_directory),
)  # fmt: skip
RESOLVER = (
    Check("resolver", _FALSIFIES, "apt install unbound; free its ports, or set [resolver] port "
          "and second_look_port", resolver.starts, "state_dir"),
    Check("resolver_alone", _FALSIFIES, "stop the other process on the port (ss -lnup), or set "
          "[resolver] control to this resolver's own socket", resolver.alone, "resolver"),
    Check("resolver_options", _FALSIFIES, "use the configuration that `danesurvey resolver "
          "config` prints", resolver.options, "resolver"),
    Check("resolver_root_keys", _FALSIFIES, "give it IANA's root keys (leave [resolver] "
          "trust_anchor unset)", resolver.root_keys, "resolver"),
    Check("clock", _FALSIFIES, "set the clock (timedatectl set-ntp true)", machine.clock,
          "resolver"),
    Check("fresh_names", _FALSIFIES, "check the network: UDP and TCP port 53 outward must be "
          "open; [canaries] must name zones that exist", resolver.fresh_names, "resolver"),
    Check("resolver_validates", _FALSIFIES, "check the root's trust anchor, the clock and that "
          "no middlebox strips DNSSEC; [canaries] must name zones that exist",
          resolver.validates, "fresh_names"),
    Check("resolver_algorithms", _FALSIFIES, "use an Unbound and OpenSSL that validate this "
          "algorithm (system policies may forbid SHA-1)", resolver.algorithms,
          "resolver_validates"),
    Check("large_answers", _FALSIFIES, "let DNS over TCP and fragments pass the firewall",
          resolver.large_answers, "resolver_validates"),
    Check("resolver_tcp", _PREVENTS, "let it answer by TCP (do-tcp)", resolver.tcp,
          "resolver_validates"),
    Check("resolver_ede", _WORSENS, "use Unbound 1.16 or newer: without EDE causes are unknown",
          resolver.extended_errors, "resolver_validates"),
    Check("resolver_version", _WORSENS, "upgrade the package unbound", resolver.version,
          "resolver"),
)  # fmt: skip
_LASTING = [
    check
    for check in RESOLVER
    if check.name in {"resolver_options", "resolver_root_keys", "resolver_algorithms"}
]
MACHINE = (
    _PORT_25,
    Check("identity", _PREVENTS, "say in [probe] who you are (docs/ethics.md)",
          identity.introduces_itself),
    Check("opt_out", _PREVENTS, "correct the line: docs/ethics.md shows what is understood",
          identity.opt_out),
    Check("ehlo_name", _WORSENS, "make [probe] ehlo_name, its address records and their PTR "
          "agree: many servers refuse others", identity.ehlo_name),
    Check("ipv4_route", _PREVENTS, "connect this machine to the IPv4 Internet",
          machine.ipv4_route),
    Check("ipv6_route", _WORSENS, "get IPv6: addresses of that family stay unprobed",
          machine.ipv6_route),
    Check("clock_is_kept", _WORSENS, "run an NTP client", machine.clock_is_kept),
    Check("address_space", _PREVENTS, "raise the limit (ulimit -v; LimitAS=)",
          machine.address_space),
    Check("open_files", _WORSENS, "raise the hard limit (ulimit -Hn; LimitNOFILE=)",
          machine.open_files),
    Check("socket_buffers", _WORSENS, "sysctl -w net.core.rmem_max=4194304 "
          "net.core.wmem_max=4194304", machine.socket_buffers),
    Check("disk", _PREVENTS, "free some space, or set state_dir", machine.disk_holds_anything),
    Check("disk_full_runs", _WORSENS, "have 50 GiB for full runs of 25 million domains",
          machine.disk_holds_full_runs),
)  # fmt: skip
DATABASE = (
    Check("database", _PREVENTS, "leave [database] url unset for the embedded PostgreSQL, or "
          "give one of version 15 or newer that answers", database.answers, "state_dir"),
    Check("database_encoding", _PREVENTS, "createdb --encoding=UTF8 --locale=C --template="
          "template0", database.encoding, "database"),
    Check("database_durable", _WORSENS, "turn it on: without it a power failure loses runs",
          database.durable, "database"),
    Check("database_wal", _WORSENS, "ALTER SYSTEM SET max_wal_size = '8GB'",
          database.write_ahead_log, "database"),
    Check("database_connections", _PREVENTS, "raise max_connections, or lower [database] "
          "connections", database.connections, "database"),
    Check("database_schema", _PREVENTS, "update danesurvey, or use another database",
          database.schema, "database"),
)  # fmt: skip
CHECKS: Sequence[Check] = (*STATE, *RESOLVER, *MACHINE, *DATABASE)


def examine(settings: Settings) -> Iterator[Result]:
    """Every check, with resolvers and database started for it where they do not run yet."""
    with ExitStack() as stack:
        resolvers: list[Unbound] = []
        url = None
        trouble: dict[Check, Fault] = {}
        try:
            claim(settings)
            require_address_space()
        except Fault as fault:
            trouble[STATE[0]] = fault  # nothing is started in a directory that is not ours
        else:
            try:
                resolvers += map(stack.enter_context, _resolvers(settings))
            except Fault as fault:
                resolvers.clear()
                trouble[RESOLVER[0]] = fault
            try:
                url = stack.enter_context(embedded.database(settings))
            except Fault as fault:
                trouble[DATABASE[0]] = fault
        yield from _run(CHECKS, Situation(settings, resolvers, url), trouble)


def refuse_falsified(
    settings: Settings, resolvers: Sequence[Unbound], *, probing: bool = True
) -> None:
    """Raise a Fault, with what to do, if our own fault would be taken for a domain's: Refused
    for a setting that stays wrong until somebody corrects it, LocalTrouble for what may be an
    outage, so that whatever started the survey starts it again.

    `probing` False: no mail server will be connected to, so port 25 does not matter.
    """
    checks = [
        check
        for check in CHECKS
        if check.harm is Harm.FALSIFIES and (probing or check is not _PORT_25)
    ]
    for result in _run(checks, Situation(settings, resolvers), {}):
        check = result.check
        if result.outcome is Outcome.FAILED:
            kind = Refused if check in _LASTING else LocalTrouble
            raise kind(
                f"no survey now, it would not be true: {check.name}: {result.detail} "
                f"({check.advice}; `danesurvey doctor` tells all)"
            )


def verdict(results: Iterable[Result]) -> int:
    """The exit code: 1 if a survey would be false or impossible."""
    return int(
        any(
            result.outcome is Outcome.FAILED and result.check.harm is not Harm.WORSENS
            for result in results
        )
    )


def _run(
    checks: Iterable[Check], situation: Situation, trouble: Mapping[Check, Fault]
) -> Iterator[Result]:
    """In order. `trouble`: what is known already to have failed."""
    unwell = set()
    for check in checks:
        if check in trouble:
            result = Result(check, Outcome.FAILED, str(trouble[check]))
        elif check.needs in unwell:
            result = Result(check, Outcome.SKIPPED, f"after {check.needs}")
        else:
            result = _result(check, situation)
        if result.outcome is Outcome.FAILED or check.needs in unwell:
            unwell.add(check.name)
        yield result


def _result(check: Check, situation: Situation) -> Result:
    try:
        return Result(check, Outcome.OK, check.look(situation))
    except NotApplicable as reason:
        return Result(check, Outcome.SKIPPED, str(reason))
    except (Unwell, Fault) as trouble:
        return Result(check, Outcome.FAILED, str(trouble))


def _resolvers(settings: Settings) -> Iterator[Unbound]:
    """Those of a survey that runs now, else our own, to be started."""
    directory = settings.state_dir / "unbound"
    resolver = settings.resolver
    for second_look, key, port in (
        (False, "", resolver.port),
        (True, "second_look_", resolver.second_look_port),
    ):
        control = home(directory, second_look=second_look) / CONTROL
        given = getattr(resolver, f"{key}address")
        if second_look and given is None and settings.resolver.address is not None:
            return
        if given is None and is_served(control):
            ours: dict[str, Any] = {f"{key}address": f"{ADDRESS}:{port}", f"{key}control": control}
            resolver = dataclasses.replace(resolver, **ours)
        yield Unbound(resolver, directory, second_look=second_look)
