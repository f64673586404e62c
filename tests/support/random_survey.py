"""A survey of a few thousand domains, drawn at random, as rows of PostgreSQL.

Large and small providers, one name a tenant, hosts of one's own, implicit MX, backups at a
second provider, broken and failing hosts (some seen twice, so that they can be confirmed),
public suffixes of several labels, certificates that name customers.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from dane.names import bucket
from reports.settings import ConfirmationSettings, PublishSettings
from storage import copy
from storage import run as runs
from storage.database import Connection
from storage.run import Run, RunKind
from storage.schemas import (
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
    Table,
)
from tests.storage_rows import batch_of

ZONES = ("org", "nl", "co.uk", "com.br", "tiny", "hosting.example")
ZONE_WEIGHTS = (50, 20, 15, 10, 0.1, 4)
SIZES = {"huge": 40, "large": 20, "middle": 5, "small": 0.8, "less": 0.4, "least": 0.1}
ASKED = datetime(2026, 11, 3, 12, tzinfo=UTC)

# two sessions two hours apart confirm, so that one run has confirmed and other breakage
SETTINGS = PublishSettings(
    vantage="here",
    confirmation=ConfirmationSettings(looks=1, span_s=0.0, attempts_apart_s=1800.0),
)

# class and status of the hosts of a provider, by chance
OUTCOMES = (
    (70, "P", "pass"),
    (15, "N", "absent"),
    (5, "N", "insecure"),
    (5, "F", "mismatch"),
    (3, "L", "tlsa_failed"),
    (2, "Q", "unreachable"),
)


@dataclass(slots=True)
class Host:
    """An MX host, its operator, and what was found there."""

    name: str
    operator: str
    host_class: str
    status: str
    sessions: int  # that saw the fault; two are enough to be confirmed
    certificate: str | None = None


@dataclass(slots=True)
class Survey:
    """The rows, by table, and the domains as they were drawn."""

    rows: dict[Table, list[dict[str, Any]]] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)  # of each domain
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def domains(self) -> list[dict[str, Any]]:
        return self.rows[DOMAIN_VERDICT]


def certificate(names: list[str], chance: random.Random) -> tuple[str, bytes]:
    """A self-signed certificate for these names: its SHA-256 and DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    der = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(chance.getrandbits(64) + 1)
        .not_valid_before(ASKED - timedelta(days=1))
        .not_valid_after(ASKED + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )
    return hashlib.sha256(der).hexdigest(), der


def draw(domains: int, seed: int, asked: datetime = ASKED) -> Survey:
    """So many domains; the same seed draws the same ones."""
    chance = random.Random(seed)
    survey = Survey()
    names = [
        f"d{number}-name.{chance.choices(ZONES, ZONE_WEIGHTS)[0]}" for number in range(domains)
    ]
    survey.zones = {name: name.partition(".")[2] for name in names}
    pools = list(_providers(chance))
    weights = [weight for weight, _ in pools]
    verdicts, looked_up = [], []
    for name in names:
        kind = chance.random()
        hosts: list[tuple[int, Host]]
        if kind < 0.05:  # a host of its own
            hosts = [(10, _host(f"mx.{name}", name, chance))]
        elif kind < 0.08:  # itself
            hosts = [(0, _host(name, name, chance))]
        elif kind < 0.12:  # a name a tenant
            tenant = f"{name.replace('.', '-')}.tenant.example"
            hosts = [(10, _host(tenant, "tenant.example", chance))]
        elif kind < 0.15:
            hosts = []
        else:
            pool = chance.choices(pools, weights)[0][1]
            hosts = [(10 * (place + 1), host) for place, host in enumerate(pool)]
            if chance.random() < 0.05:  # a backup elsewhere
                hosts += [(90, chance.choices(pools, weights)[0][1][0])]
        hosts = list({host.name: (preference, host) for preference, host in hosts}.values())
        for _, host in hosts:
            survey.hosts.setdefault(host.name, host)
        verdicts.append(_verdict(name, hosts, chance))
        looked_up.append(_lookup(verdicts[-1], chance, asked))
    survey.rows = {DOMAIN_VERDICT: verdicts, DOMAIN_MX: looked_up}
    _add_hosts(survey, names, chance, asked)
    return survey


def _providers(chance: random.Random) -> Iterator[tuple[float, list[Host]]]:
    for size, weight in SIZES.items():
        for number in range(8):
            operator = f"{size}{number}.example"
            yield (
                weight,
                [_host(f"mx{place}.{operator}", operator, chance) for place in (1, 2)],
            )


def _host(name: str, operator: str, chance: random.Random) -> Host:
    _, host_class, status = chance.choices(OUTCOMES, [one[0] for one in OUTCOMES])[0]
    return Host(name, operator, host_class, status, chance.choice((1, 2)))


def _verdict(name: str, hosts: list[tuple[int, Host]], chance: random.Random) -> dict[str, Any]:
    """A verdict that fits its hosts; the rules themselves are not what is tested with it."""
    classes = [host.host_class for _, host in hosts]
    primary = [host.host_class for preference, host in hosts if preference == hosts[0][0]]
    secure = chance.random() < 0.95
    row: dict[str, Any] = {
        "domain": name,
        "zone": name.partition(".")[2],
        "ds": ["1 13 2 00"],
        "mx_secure": secure,
        "dane_primary": secure and bool(hosts) and all(one == "P" for one in primary),
        "deliverable": None,
        "host": [host.name for _, host in hosts],
        "host_preference": [preference for preference, _ in hosts],
        "host_status": [host.status for _, host in hosts],
        "host_class": classes,
        "mx_operator": sorted({host.operator for _, host in hosts}),
        "dns_operator": [name if chance.random() < 0.1 else f"dns{chance.randrange(40)}.example"],
    }
    if not hosts and chance.random() < 0.3:
        return row | {
            "status": "lookup_failed", "stage": "mx", "mx_secure": False, "deliverable": False,
        }  # fmt: skip
    if not hosts:
        return row | {"status": "no_mail", "reason": "null_mx"}
    if not secure:
        return row | {"status": "insecure"}
    if "F" in classes:
        return row | {"status": "broken", "level": "primary", "deliverable": False}
    if "L" in classes:
        return row | {"status": "lookup_failed", "stage": "tlsa", "deliverable": False}
    if set(classes) == {"N"}:
        return row | {"status": "no_tlsa"}
    if "N" in classes:
        return row | {"status": "partial", "deliverable": True}
    if set(classes) == {"Q"}:
        return row | {"status": "unreachable"}
    return row | {"status": "dane", "deliverable": True}


def _lookup(verdict: Mapping[str, Any], chance: random.Random, asked: datetime) -> dict[str, Any]:
    fails = verdict.get("stage") == "mx"
    secure = bool(verdict["mx_secure"])
    algorithm = chance.choice((8, 13, 13, 13, 15))
    return {
        "domain": verdict["domain"],
        "outcome": "bogus" if fails else "secure" if secure else "insecure",
        "secure": secure,
        "passes": 4 if fails else 1,
        "questions": chance.randrange(3, 9),
        "first_asked": asked,
        "last_asked": asked + timedelta(hours=chance.choice((0, 2))) if fails else asked,
        "ede_code": 6 if fails else None,
        "ede_text": f"no DNSKEY for {verdict['domain']}" if fails else None,
        "mx_preference": verdict["host_preference"],
        "mx_host": verdict["host"],
        "mx_total": len(verdict["host"]),
        "rrsig_signer": verdict["domain"] if secure else None,
        "rrsig_algorithm": algorithm if secure else None,
        "dnskey_outcome": "secure" if secure else None,
        "dnskey_algorithm": [algorithm, algorithm] if secure else [],
        "dnskey_bits": [256, 256] if secure else [],
        "dnskey_flags": [256, 257] if secure else [],
        "nsec3param_iterations": chance.choice((None, 0, 0, 1, 10)),
        "nsec3param_salt_length": None,
    }


def _add_hosts(survey: Survey, names: list[str], chance: random.Random, asked: datetime) -> None:
    hosts, verdicts, probes, certificates = [], [], [], {}
    shared = certificate(["mx1.huge0.example", *chance.sample(names, 60)], chance)
    for number, host in enumerate(survey.hosts.values()):
        tlsa = host.host_class in ("F", "P", "Q")
        digest = hashlib.sha256(host.name.encode()).hexdigest()
        address = f"192.0.{number // 250}.{number % 250 + 1}"
        kind = chance.choice((["3 1 1"], ["3 1 1", "2 1 1"], ["3 0 1"]))
        records = sorted(f"{one} {digest}" for one in kind) if tlsa else []
        hosts.append(
            {
                "host": host.name,
                "a_outcome": "secure",
                "a_secure": host.status != "insecure",
                "addresses": [address],
                "address_total": 1,
                "tlsa_base": host.name if tlsa else None,
                "tlsa_outcome": {"L": "bogus", "N": "nodata"}.get(host.host_class, "secure"),
                "tlsa": records,
                "tlsa_digest": digest if tlsa else None,
                "tlsa_usable": len(records),
                "rrsig_signer": host.operator if tlsa else None,
                "first_asked": asked - timedelta(hours=2 if host.sessions > 1 else 0),
                "last_asked": asked,
                "passes": host.sessions,
                "ede_text": f"bogus: {host.name}" if host.host_class == "L" else None,
                "ede_code": 6 if host.host_class == "L" else None,
                "operator": host.operator,
            }
        )
        verdicts.append(
            {
                "host": host.name,
                "status": host.status,
                "class": host.host_class,
                "usable": tlsa,
                "operator": host.operator,
                "address": [address] if tlsa else [],
                "address_status": [host.status] if tlsa else [],
                "address_leaf": [""] if tlsa else [],
                "causes": ["unknown"] if host.host_class == "F" else [],
            }
        )
        if not tlsa or host.status == "unreachable":
            continue
        if chance.random() < 0.1 or number % 40 == 0:
            sha256, der = shared
        else:
            sha256, der = certificate([host.name, f"www.{host.operator}"], chance)
        certificates[sha256] = der
        for attempt in range(1, host.sessions + 1):
            probes.append(
                {
                    "address": address,
                    "tlsa_digest": digest,
                    "operator": host.operator,
                    "sni": host.name,
                    "attempt": attempt,
                    "host": host.name,
                    "status": host.status,
                    "tlsa": records,
                    "record_result": ["unknown" if host.host_class == "F" else "match"]
                    * len(records),
                    "record_cause": [""] * len(records),
                    "leaf_names": [host.name],
                    "chain": [sha256],
                    "tls_version": chance.choice(("TLSv1.2", "TLSv1.3")),
                    "key_type": "ecdsa",
                    "smtp_code": 250,
                    "smtp_text": f"{host.name} at your service",
                    "connected": asked + timedelta(hours=attempt),
                    "dns_asked": asked,
                }
            )
    survey.rows |= {
        MX_HOST: hosts,
        HOST_VERDICT: verdicts,
        SMTP_PROBE: probes,
        CERTIFICATE: [
            {"sha256": sha256, "der": der, "first_run": 1} for sha256, der in certificates.items()
        ],
    }


async def store(
    connection: Connection,
    url: str,
    survey: Survey,
    started: datetime,
    kind: RunKind = RunKind.FULL,
) -> Run:
    """The survey as a finished run that began at that time, and its delegations."""
    run = await runs.create(connection, kind, {})
    await connection.execute("UPDATE run SET started = $2 WHERE run_id = $1", run.run_id, started)
    known = {row["sha256"] for row in await connection.fetch("SELECT sha256 FROM certificate")}
    store = []
    for table, rows in survey.rows.items():
        new = [row for row in rows if table is not CERTIFICATE or row["sha256"] not in known]
        store.append((table, batch_of(table, run.run_id, *new)))
    async with copy.writer(url) as out:
        await out.store(store)
    await connection.execute("DELETE FROM delegation")
    await connection.copy_records_to_table(
        "delegation",
        records=[
            (bucket(name), name, zone, ["1 13 2 00"], [], None)
            for name, zone in survey.zones.items()
        ],
        columns=["bucket", "domain", "zone", "ds", "ns", "missing_since"],
    )
    await runs.finish(connection, run.run_id)
    return await runs.get(connection, run.run_id)
