"""MX hosts to their addresses and TLSA records: rows of `mx_host` (measurement, section 3).

Addresses first; TLSA only below names whose addresses (or first CNAME) are secure, at the
CNAME-expanded name and then at the host itself (RFC 7672 section 2.2); each TLSA RRset found
once more of the resolver that minimises query names, as senders' resolvers do.

`status` is the first of section 6's lines that DNS alone decides; null leaves it to the
probe. Nothing is connected to here, and nobody else's zone is walked. A host that is on the
opt-out list, or whose operator is, gets its row without a question; an alias of such a name
is asked about no further.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

import pyarrow as pa

from crawler.dns.codec import SERVFAIL, Response
from crawler.dns.lookup import FIRST, SECOND_LOOK, Answer, Lookup, lookup
from crawler.dns.rdata import AAAA, CNAME, SOA, TLSA, A, Signature
from crawler.dns.window import Times
from crawler.opt_out import OptOut
from crawler.scan import run
from crawler.scan.confirmed_lookups import ConfirmedLookups
from crawler.scan.context import ScanContext
from crawler.scan.previous_answer import ASKED, PreviousAnswers
from crawler.scan.sha1 import DelegationSets, signed_by_sha1, zones_above
from crawler.scan.signature import SIGNATURE, signature
from crawler.scan.witness import Witness
from dane import tlsa
from dane.mailbox import mailbox
from dane.names import NameFault, operator, to_labels
from dane.outcomes import DENIAL, Defect, HostStatus, LookupOutcome
from dane.special_use import is_special_use

MOST_ADDRESSES = 32
NEAR_EXPIRY_S = 72 * 3600

_COLUMNS = (
    *("run_id", "bucket", "host", "operator", "status"),
    *ASKED,
    *("a_outcome", "a_secure", "aaaa_outcome", "aaaa_secure", "addresses", "address_total"),
    *("cname_chain", "cname_secure", "first_cname_secure"),
    *("tlsa_base", "tlsa_outcome", "tlsa", "tlsa_digest", "tlsa_usable"),
    *("first_look_outcome", "second_look_outcome", "failed_names", "failed_types", "sha1_only"),
    "defects",
    *SIGNATURE,
    "nsec3_iterations",
    "contact",
)


@dataclass(slots=True)
class _Host:
    """What is found out about one host, question by question."""

    name: str
    witness: Witness
    status: HostStatus | None = None
    a: Answer | None = None
    aaaa: Answer | None = None
    first_cname: Answer | None = None
    tlsa: Answer | None = None  # of the question that decided
    base: str | None = None
    second_look: LookupOutcome | None = None
    contact: str | None = None
    sha1_only: bool = False
    answers: list[Answer] = field(default_factory=list)
    defects: set[Defect] = field(default_factory=set)


def scan(shard: pa.RecordBatch, context: ScanContext) -> pa.RecordBatch:
    """Look up a shard's MX hosts: one row each of `mx_host`, in any order.

    shard   bucket, host; of a later lookup passes, first_asked, ede_code, ede_text of the
            stored row, and the caller has flushed since

    What is not enclosed by two good canaries has no row. In all but the last lookup
    `local_error` also stands for what was not answered within `client.try_s`.
    """
    (schema,) = context.schemas
    hosts: list[Any] = shard.column("host").to_pylist()
    buckets = shard.column("bucket").to_pylist()
    previous_answers = PreviousAnswers(shard)
    delegation_sets = DelegationSets(last_lookup=context.last_lookup)
    listed, table = OptOut(context.probe.opt_out), context.operator_merges
    lookups = ConfirmedLookups(
        len(hosts),
        lambda index: _look_up(
            hosts[index],
            context,
            delegation_sets,
            opted_out=lambda name: listed.covers(names=(name,), operator=operator(name, table)),
        ),
        lambda index, host, times: (
            context.run_id,
            buckets[index],
            host.name,
            operator(host.name, table),
            host.status,
            *previous_answers.asked(index, times, _telling(host)),
            *_facts(host, times),
        ),
        context,
        failed=lambda host: host.status in (HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED),
        # Customers' names at one provider share its servers: so do the siblings of a name.
        servers=lambda index: hosts[index].partition(".")[2],
    )
    run(lookups.run)
    return lookups.batch(_COLUMNS, schema)


def _look_up(
    name: str, context: ScanContext, sets: DelegationSets, *, opted_out: Callable[[str], bool]
) -> Lookup[_Host]:
    last_lookup, second = context.last_lookup, bool(context.resolvers.second)
    host = _Host(
        name,
        Witness(last_lookup=last_lookup, second=second, control=context.resolvers.control),
    )
    if opted_out(name):
        host.status = HostStatus.OPTED_OUT
        return host
    # "." beside other MX is no host (RFC 7505 section 3).
    if name == "." or is_special_use(name):
        host.status = HostStatus.NO_ADDRESS
        return host
    host.a = yield from host.witness.ask(name, A)
    host.answers.append(host.a)
    if host.a.local and not last_lookup:
        host.status = HostStatus.LOCAL_ERROR  # the next lookup asks for everything
        return host
    names = host.a.response.chain or (name,)
    if last_lookup and host.a.secure and host.a.records and not any(map(opted_out, names)):
        yield from _ask_in_advance(names, second)
    host.aaaa = yield from host.witness.ask(name, AAAA)
    host.answers.append(host.aaaa)
    aliases = {*host.a.response.chain, *host.aaaa.response.chain}
    if any(map(opted_out, aliases)):
        host.a = host.aaaa = None  # nothing is kept of an address that must not be visited
        host.status = HostStatus.OPTED_OUT
        return host
    host.status = yield from _status(host, last_lookup, second)
    if host.base is not None:
        by_sha1 = yield from _sha1_only(host, sets)
        if by_sha1 is None:
            host.status = HostStatus.LOCAL_ERROR  # the next lookup asks for everything
        host.sha1_only = bool(by_sha1)
    if host.status is None:
        host.contact = yield from _contact(host, last_lookup)
    return host


def _contact(host: _Host, last_lookup: bool) -> Lookup[str | None]:
    """The mailbox of the zone that signs the TLSA records; None if it has none, or does not say."""
    signature = host.tlsa.response.signature if host.tlsa is not None else None
    if signature is None:
        return None
    answer = yield from lookup(signature.signer, SOA, last_lookup)
    return next((mailbox(one) for one in answer.records if isinstance(one, str)), None)


def _ask_in_advance(names: Sequence[str], second: bool) -> Lookup[None]:
    """Have the resolvers hold the TLSA RRset before AAAA is asked for.

    Unbound takes a server that drops AAAA questions for down, whatever it is asked for next;
    what is in the cache it answers all the same. `names`: the expanded name is the last.
    """
    for resolver in (FIRST, SECOND_LOOK)[: 1 + second]:
        try:
            yield from lookup(f"_25._tcp.{names[-1]}", TLSA, True, resolver)
        except NameFault:
            return


def _sha1_only(host: _Host, sets: DelegationSets) -> Lookup[bool | None]:
    """Whether only SHA-1 secures a link of the addresses or the TLSA RRset; None: not answered

    in time.
    """
    answers = [one for one in (host.a, host.aaaa, host.tlsa) if one is not None and one.secure]
    names, zones = {host.name, f"_25._tcp.{host.base}"}, set[str]()
    for answer in answers:
        names.update(answer.response.chain)
        if answer.response.signature is not None:
            zones.add(answer.response.signature.signer)
    zones |= {one for one in zones_above(names) if not one.startswith("_")}
    by_ds = yield from sets.any_by_sha1(zones)
    return None if by_ds is None else by_ds or any(map(signed_by_sha1, answers))


def _status(host: _Host, last_lookup: bool, second: bool) -> Lookup[HostStatus | None]:
    """The first line of measurement, section 6, that DNS decides; None if the probe does."""
    assert host.a is not None
    assert host.aaaa is not None
    families = host.a, host.aaaa
    if any(one.local for one in families):
        return HostStatus.LOCAL_ERROR
    found = [one for one in families if one.records]
    failed = any(one.failed for one in families)
    if any(map(is_special_use, _chain(host))):
        return HostStatus.NO_ADDRESS
    if len(_addresses(host)) > MOST_ADDRESSES:
        return HostStatus.EXCESS
    if not found:
        return HostStatus.ADDRESS_FAILED if failed else HostStatus.NO_ADDRESS
    if failed:
        host.defects.add(Defect.ADDRESS_FAMILY_FAILED)
    secure = any(one.secure for one in found)
    chain = _chain(host)
    if not secure:
        if not chain:
            return HostStatus.INSECURE
        # Is the alias itself secure, and only its target not (RFC 7672 section 2.2.2)?
        host.first_cname = yield from host.witness.ask(host.name, CNAME)
        host.answers.append(host.first_cname)
        if host.first_cname.local:
            return HostStatus.LOCAL_ERROR
        if host.first_cname.failed:
            return HostStatus.TLSA_FAILED
        if host.first_cname.outcome is not LookupOutcome.SECURE:
            return HostStatus.INSECURE
    candidates = [chain[-1], host.name] if chain and secure else [host.name]
    return (yield from _tlsa(host, candidates, last_lookup, second))


def _tlsa(
    host: _Host, candidates: list[str], last_lookup: bool, second: bool
) -> Lookup[HostStatus | None]:
    """Ask each candidate base domain until one has a secure TLSA RRset or fails."""
    for base in candidates:
        name = f"_25._tcp.{base}"
        try:
            answer = yield from host.witness.ask(name, TLSA)
        except NameFault:
            continue  # no room for the prefix in 255 bytes: there can be no such name
        host.tlsa = answer
        host.answers.append(answer)
        if answer.local:
            return HostStatus.LOCAL_ERROR
        if answer.failed:
            return HostStatus.TLSA_FAILED
        if answer.outcome is LookupOutcome.INSECURE:
            host.defects.add(Defect.TLSA_INSECURE)
        if answer.outcome is LookupOutcome.SECURE:
            host.base = base
            if not second or (name, "TLSA") in host.witness.failed:
                return None  # in the latter case this is the second resolver's answer
            other = yield from lookup(name, TLSA, last_lookup, SECOND_LOOK)
            host.second_look = other.outcome
            host.answers.append(other)
            if other.local:
                return None if last_lookup else HostStatus.LOCAL_ERROR
            if other.failed:
                # Theirs only if their servers deny `_tcp` (`dane.assess`): asked directly.
                host.witness.failed.append((name, "TLSA"))
                return None if last_lookup else HostStatus.TLSA_FAILED
            if other.outcome is not LookupOutcome.SECURE:
                host.defects.add(Defect.ENT_DENIED)
            return None
        if answer.outcome in DENIAL and answer.response.chain:
            dangling = yield from _is_dangling(host, base, answer.response.chain, last_lookup)
            if dangling is None:
                return HostStatus.LOCAL_ERROR
            if dangling:
                host.defects.add(Defect.TLSA_ALIAS_DANGLING)
    return HostStatus.ABSENT


def _is_dangling(
    host: _Host, base: str, targets: tuple[str, ...], last_lookup: bool
) -> Lookup[bool | None]:
    """Whether someone made the TLSA name an alias, to a name without TLSA; None: ask again.

    A wildcard's CNAME was not made for TLSA; nor was the DNAME that makes the host an alias.
    """
    if targets[0] in {f"_25._tcp.{one}" for one in _chain(host)}:
        return False
    name = f"_25._tcp.{base}"
    alias = yield from lookup(name, CNAME, last_lookup)
    if alias.local and not last_lookup:
        return None
    if alias.outcome is not LookupOutcome.SECURE:
        return False
    made = alias.response.signature  # none of a CNAME that a DNAME makes (RFC 6672 section 3.1)
    return made is None or made.labels == len(to_labels(name))


def _chain(host: _Host) -> tuple[str, ...]:
    """The aliases. Where the families have different ones, those of the family that is secure
    and has an address: its target is the candidate base domain."""
    answers = [one for one in (host.a, host.aaaa) if one is not None]
    answers.sort(key=lambda one: not (one.secure and one.records))
    return next((one.response.chain for one in answers if one.response.chain), ())


def _addresses(host: _Host) -> list[str]:
    """All addresses as canonical text, sorted."""
    if any(map(is_special_use, _chain(host))):
        return []
    texts = {
        inet_ntop(AF_INET if len(record) == 4 else AF_INET6, record)
        for answer in (host.a, host.aaaa)
        if answer is not None
        for record in answer.records
        if isinstance(record, bytes)
    }
    return sorted(texts)


def _signature(host: _Host) -> Signature | None:
    """Of the TLSA RRset, else of the addresses; secure ones only."""
    answers = [host.tlsa, host.a, host.aaaa]
    signatures = [one.response.signature for one in answers if one is not None and one.secure]
    return next(filter(None, signatures), None)


def _signature_defects(host: _Host, now_us: int) -> set[Defect]:
    """What is odd about the RRSIGs over addresses and TLSA."""
    found: set[Defect] = set()
    for answer in (host.tlsa, host.a, host.aaaa):
        if answer is None or not answer.secure or answer.response.signature is None:
            continue
        response, one = answer.response, answer.response.signature
        if one.expiration - now_us / 1_000_000 < NEAR_EXPIRY_S:
            found.add(Defect.RRSIG_NEAR_EXPIRY)
        # Made from a wildcard (RFC 4035 section 5.3.4): fewer labels signed than there are.
        if answer is host.tlsa and one.labels < len(to_labels(response.owner)):
            found.add(Defect.WILDCARD_TLSA)
    return found


def _telling(host: _Host) -> Response:
    """The response whose extended error tells most: the first that is a failure."""
    for answer in host.answers:
        if answer.failed or answer.local:
            return answer.response
    return host.answers[0].response if host.answers else Response("", SERVFAIL, False, False)


def _outcome(answer: Answer | None) -> tuple[LookupOutcome | None, bool]:
    return (None, False) if answer is None else (answer.outcome, answer.secure)


def _facts(host: _Host, times: Times) -> tuple[Any, ...]:
    """The columns from `a_outcome` on."""
    addresses = _addresses(host)
    chain = _chain(host)
    records = []
    if host.base is not None and host.tlsa is not None:
        data = host.tlsa.records
        records = [tlsa.parse_rdata(one) for one in data if isinstance(one, bytes)]
        host.defects |= tlsa.defects(records)
    iterations = [
        answer.response.denial.nsec3.iterations
        for answer in host.answers
        if answer.response.denial is not None and answer.response.denial.nsec3 is not None
    ]
    host.defects |= _signature_defects(host, times.last_us)
    if chain:
        host.defects.add(Defect.MX_ALIAS)
    if any(iterations):
        host.defects.add(Defect.NSEC3_ITERATIONS)
    return (
        *_outcome(host.a),
        *_outcome(host.aaaa),
        tuple(addresses[:MOST_ADDRESSES]),
        len(addresses),
        chain,
        bool(chain) and any(a.secure for a in (host.a, host.aaaa) if a and a.response.chain),
        None if host.first_cname is None else host.first_cname.outcome is LookupOutcome.SECURE,
        host.base,
        host.tlsa.outcome if host.tlsa else None,
        tuple(sorted(record.text() for record in records)),
        tlsa.rrset_digest(records) if records else None,
        sum(map(tlsa.usable, records)),
        host.witness.first_look,
        host.second_look or host.witness.second_look,
        tuple(name for name, _ in host.witness.failed),
        tuple(rrtype for _, rrtype in host.witness.failed),
        host.sha1_only,
        tuple(sorted(host.defects)),
        *signature(_signature(host)),
        max(iterations, default=None),
        host.contact,
    )
