"""Domains to their MX hosts: rows of `domain_mx` (measurement, sections 2 and 3).

One question for the MX RRset; DNSKEY and NSEC3PARAM besides, where the zone is signed.
What fails is asked once more of the second resolver. Addresses and TLSA are asked by
`crawler.scan.hosts`, once a host and run.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from crawler.dns.lookup import Answer, Lookup, lookup
from crawler.dns.rdata import DNSKEY, MX, NSEC3PARAM, Key, MailExchange, Nsec3Parameters
from crawler.dns.window import Times
from crawler.scan import run
from crawler.scan.confirmed_lookups import ConfirmedLookups
from crawler.scan.context import ScanContext
from crawler.scan.previous_answer import ASKED, PreviousAnswers
from crawler.scan.sha1 import SHA1_ALGORITHMS, DelegationSets, signed_by_sha1, zones_above
from crawler.scan.signature import SIGNATURE, signature
from crawler.scan.witness import Witness
from dane.outcomes import DENIAL, LookupOutcome

MOST_HOSTS = 32
MOST_EXCESS_HOSTS = 32
"""How many hosts beyond the cap are told by name."""

_COLUMNS = (
    *("run_id", "bucket", "domain", "outcome", "secure"),
    *ASKED,
    *("mx_preference", "mx_host", "mx_total", "mx_excess_preference", "mx_excess_host"),
    "cname_target",
    *SIGNATURE,
    *("nsec3_iterations", "nsec3_salt_length", "nsec3_opt_out"),
    *("dnskey_outcome", "dnskey_algorithm", "dnskey_bits", "dnskey_flags"),
    *("nsec3param_iterations", "nsec3param_salt_length"),
    *("first_look_outcome", "second_look_outcome", "sha1_only"),
)


class _Answers(NamedTuple):
    mx: Answer
    dnskey: Answer | None = None
    nsec3param: Answer | None = None
    first_look: LookupOutcome | None = None
    second_look: LookupOutcome | None = None
    sha1_only: bool = False


def scan(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Look up a shard's domains: one row each of `domain_mx`, in any order.

    shard   bucket, domain; ns (names of its servers; spaces the questions to each set);
            of a later lookup passes, first_asked, ede_code, ede_text of the stored row, and
            the caller has flushed since

    What is not enclosed by two good canaries has no row. In all but the last lookup `unanswered`
    means: one of the questions was not answered within `client.try_s`.
    """
    (schema,) = context.schemas
    domains: list[Any] = shard.column("domain").to_pylist()
    sets: list[Any] | None = shard.column("ns").to_pylist() if "ns" in shard.schema.names else None

    def servers(index: int) -> Hashable | None:
        return tuple(sorted(sets[index])) if sets and sets[index] else None

    buckets = shard.column("bucket").to_pylist()
    previous_answers = PreviousAnswers(shard)
    delegation_sets = DelegationSets(last_lookup=context.last_lookup)

    def row(index: int, answers: _Answers, times: Times) -> tuple[Any, ...]:
        return (
            context.run_id,
            buckets[index],
            domains[index],
            answers.mx.outcome,
            answers.mx.secure,
            *previous_answers.asked(index, times, answers.mx.response),
            *_mail(domains[index], answers.mx),
            *signature(answers.mx.response.signature),
            *_denial(answers.mx),
            *_zone(answers),
            answers.first_look,
            answers.second_look,
            answers.sha1_only,
        )

    lookups = ConfirmedLookups(
        len(domains),
        lambda index: _resolve(domains[index], context, delegation_sets),
        row,
        context,
        failed=lambda answers: answers.mx.failed,
        servers=servers,
    )
    run(lookups.run)
    return lookups.batch(_COLUMNS, schema)


def _resolve(domain: str, context: ScanContext, sets: DelegationSets) -> Lookup[_Answers]:
    last_lookup, second = context.last_lookup, bool(context.resolvers.second)
    witness = Witness(last_lookup=last_lookup, second=second, control=context.resolvers.control)
    mx = yield from witness.ask(domain, MX)
    found = _Answers(mx, first_look=witness.first_look, second_look=witness.second_look)
    signed = mx.secure or mx.response.signature is not None
    if not signed or mx.failed or mx.outcome is LookupOutcome.NXDOMAIN:
        return found
    dnskey = yield from lookup(domain, DNSKEY, last_lookup)
    nsec3param = yield from lookup(domain, NSEC3PARAM, last_lookup)
    if not last_lookup:
        for answer in (dnskey, nsec3param):
            if answer.local:
                return _Answers(answer)  # the next lookup asks for everything
    sha1_only = yield from _sha1_only(domain, mx, dnskey, sets)
    if sha1_only is None:
        return _Answers(Answer(LookupOutcome.UNANSWERED, mx.response))
    return found._replace(dnskey=dnskey, nsec3param=nsec3param, sha1_only=sha1_only)


def _sha1_only(
    domain: str, mx: Answer, dnskey: Answer, sets: DelegationSets
) -> Lookup[bool | None]:
    """Whether only SHA-1 secures a link of the MX answer; None: not answered in time.

    The zone's own DS set is asked for only where the zone has a key of these algorithms: a DS
    set of them alone needs one.
    """
    if not mx.secure:
        return False
    zones = zones_above((domain, *mx.response.chain))
    algorithms = {key.algorithm for key in dnskey.records if isinstance(key, Key)}
    if algorithms & SHA1_ALGORITHMS:
        zones |= {domain}
    if mx.response.chain:
        zones |= {domain, mx.response.chain[-1]}
    by_ds = yield from sets.any_by_sha1(zones)
    if by_ds is None:
        return None
    by_keys = bool(algorithms) and algorithms <= SHA1_ALGORITHMS
    return by_ds or by_keys or signed_by_sha1(mx)


def _mail(domain: str, mx: Answer) -> tuple[Any, ...]:
    """mx_preference, mx_host, mx_total, mx_excess_preference, mx_excess_host, cname_target."""
    chain = mx.response.chain
    target = chain[-1] if chain else None
    if mx.outcome is LookupOutcome.NODATA:  # implicit MX (RFC 5321 section 5.1)
        return (0,), (target or domain,), 1, (), (), target
    preferences: dict[str, int] = {}
    records: Sequence[MailExchange] = mx.records  # type: ignore[assignment]  # of MX
    for preference, host in sorted(records):
        preferences.setdefault(host, preference)  # the lowest of each
    hosts, values = tuple(preferences), tuple(preferences.values())
    beyond = slice(MOST_HOSTS, MOST_HOSTS + MOST_EXCESS_HOSTS)
    return (
        values[:MOST_HOSTS],
        hosts[:MOST_HOSTS],
        len(hosts),
        values[beyond],
        hosts[beyond],
        target,
    )


def _denial(mx: Answer) -> tuple[int | None, int | None, bool | None]:
    """nsec3_iterations, nsec3_salt_length, nsec3_opt_out."""
    denial = mx.response.denial
    if mx.outcome not in DENIAL or denial is None or denial.nsec3 is None:
        return None, None, None
    return denial.nsec3.iterations, denial.nsec3.salt_length, denial.nsec3.opt_out


def _zone(answers: _Answers) -> tuple[Any, ...]:
    """The dnskey and nsec3param columns."""
    if answers.dnskey is None or answers.nsec3param is None:
        return None, (), (), (), None, None
    # Of these types, as the questions were.
    keys: list[Key] = sorted(answers.dnskey.records)  # type: ignore[arg-type]
    parameters: Sequence[Nsec3Parameters]
    parameters = answers.nsec3param.records  # type: ignore[assignment]
    return (
        answers.dnskey.outcome,
        tuple([key.algorithm for key in keys]),
        tuple([key.bits for key in keys]),
        tuple([key.flags for key in keys]),
        *(min(parameters)[1:3] if parameters else (None, None)),
    )
