"""The configuration of the survey's Unbound, generated for this machine.

Every line is a decision of docs/measurement.md, section 1, or follows from the machine:
threads, memory, open files, IPv6. An Unbound that lacks an option is asked by way of its
own `unbound-checkconf`, never judged by its version: distributions back-port options.

Paths are relative to the directory that Unbound is started in, and the control socket is
named through /proc/self/cwd: an unprivileged Unbound then works in a directory whose
parents it may not enter, and no path grows past the 108 bytes of a Unix socket's name.
"""

import os
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.rdatatype
import dns.zonefile

from crawler.addresses import refused_networks
from crawler.dns.control import override_date
from crawler.dns.settings import ResolverSettings
from dane import clock
from dane.faults import LocalTrouble, UsageFault

IANA_ANCHORS = (
    # KSK-2017 and KSK-2024 (RFC 9718; data.iana.org/root-anchors)
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
)
_LOOPBACK = ("127.0.0.0/8", "::1/128")
HINTS = "root.hints"
CONTROL = "run/control"
ADDRESS = "127.0.0.1"

QUERIES_PER_THREAD = 4096
OUTGOING_RANGE = 8192
_MIB = 1 << 20
_UNKNOWN = re.compile(r":(\d+): error: unknown keyword '([^']*)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the configuration depends on beside the settings."""

    cores: int  # that this process may run on
    memory_bytes: int  # of the machine, or of the container
    open_files: int  # hard limit of a process
    ipv6: bool  # a route to the IPv6 Internet

    @classmethod
    def here(cls) -> "Machine":
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return cls(
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=min(physical, _container_memory() or physical),
            open_files=1 << 20 if hard == resource.RLIM_INFINITY else hard,
            ipv6=has_route(socket.AF_INET6),
        )


def _container_memory() -> int | None:
    """The memory limit of this control group (version 2), in bytes."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def has_route(family: socket.AddressFamily) -> bool:
    """True if the kernel has a route and a source address to the Internet. Sends no packet."""
    # The addresses of k.root-servers.net: any public one does, for connect() on a
    # datagram socket only consults the routing table.
    target = "193.0.14.129" if family == socket.AF_INET else "2001:7fd::1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 53))
    except OSError:
        return False
    return True


def trust_anchors(path: Path | None) -> tuple[str, ...]:
    """The root's DS or DNSKEY records in `path`, one text each; IANA's without a path.

    Raises UsageFault when the file is missing, is not in master-file format, or has none.
    """
    if path is None:
        return IANA_ANCHORS
    try:
        rrsets = dns.zonefile.read_rrsets(path.read_text(), rdclass=None, default_ttl=0, origin=".")
    except OSError as error:
        raise UsageFault(f"trust anchor {path}: {error.strerror}") from error
    except (UnicodeDecodeError, dns.exception.DNSException) as error:
        raise UsageFault(f"trust anchor {path} is no master file: {error}") from error
    kinds = (dns.rdatatype.DS, dns.rdatatype.DNSKEY)
    found = tuple(
        f". IN {rrset.rdtype.name} {record.to_text()}"
        for rrset in rrsets
        if rrset.rdtype in kinds and rrset.name.to_text() == "."
        for record in rrset
    )
    if not found:
        raise UsageFault(f"trust anchor {path} holds no DS or DNSKEY record of the root")
    return found


def cache_mib(settings: ResolverSettings, machine: Machine, *, second_look: bool = False) -> int:
    """The msg, rrset and key cache together, in MiB.

    An eighth of the memory: Unbound's own use is about 2.5 times what it counts, and a
    survey meets most names once. The second look asks few names.
    """
    total = settings.cache_mib or min(4096, machine.memory_bytes // 8 // _MIB)
    return max(32, total // 8) if second_look else max(64, total)


def _options(
    settings: ResolverSettings, machine: Machine, *, second_look: bool
) -> Iterator[tuple[str, str | int]]:
    threads = settings.threads or machine.cores
    # Per thread also: 200 TCP sockets, listeners, pipes. More open files than that are
    # never needed, fewer make Unbound lower the range by itself and warn.
    outgoing = min(OUTGOING_RANGE, (machine.open_files - 64) // threads - 256)
    if outgoing < 256:
        raise LocalTrouble(
            f"the open-file limit of {machine.open_files} is too low for {threads} resolver "
            "threads: raise it (`ulimit -Hn 20000`) or set [resolver] threads"
        )
    cache = cache_mib(settings, machine, second_look=second_look)
    slabs = 1 << (2 * threads - 1).bit_length()  # a power of two, against lock contention
    port = settings.second_look_port if second_look else settings.port

    yield "interface", f"{ADDRESS}@{port}"
    yield "port", port
    yield "access-control", "127.0.0.0/8 allow"
    yield "do-ip6", _word(machine.ipv6 if settings.ipv6 is None else settings.ipv6)
    yield from _FIXED
    if clock.days_ahead():  # also for one that dies and is started again
        yield "val-override-date", f'"{override_date(clock.now())}"'
    yield "qname-minimisation", _word(second_look)
    if settings.query_localhost:
        yield "do-not-query-localhost", "no"
    # Glue is a stranger's word: nothing is asked at 10.0.0.1 or 169.254.169.254 for it.
    for network in refused_networks(_LOOPBACK if settings.query_localhost else ()):
        yield "do-not-query-address", network
    yield "num-threads", threads
    yield "num-queries-per-thread", min(QUERIES_PER_THREAD, outgoing // 2)
    yield "outgoing-range", outgoing
    yield "msg-cache-size", f"{cache * 2 // 7}m"
    yield "rrset-cache-size", f"{cache * 4 // 7}m"
    yield "key-cache-size", f"{cache // 7}m"
    for name in ("msg", "rrset", "key", "infra"):
        yield f"{name}-cache-slabs", slabs
    if settings.root_hints:
        yield "root-hints", f'"{HINTS}"'
    for anchor in trust_anchors(settings.trust_anchor):
        yield "trust-anchor", f'"{anchor}"'


# What does not depend on the machine: docs/measurement.md, section 1, and the process.
_FIXED: tuple[tuple[str, str | int], ...] = (
    ("directory", '""'),
    ("chroot", '""'),
    ("username", '""'),
    ("pidfile", '""'),
    ("use-syslog", "no"),
    ("logfile", '""'),
    ("verbosity", 0),
    ("extended-statistics", "yes"),
    ("module-config", '"validator iterator"'),
    ("ede", "yes"),
    ("val-log-level", 2),  # the reason in the EDE text
    ("aggressive-nsec", "no"),  # each name is asked of its own servers
    ("prefetch", "no"),
    ("serve-expired", "no"),
    ("infra-keep-probing", "yes"),
    # A server is down after five time-outs in a row: SERVFAIL after 17 s where one is silent,
    # 35 s where two are. With 12 000 or more it takes 55 s and over 170 s (1.17.1, measured),
    # with the default of 120 s over seven minutes (NLnetLabs/unbound issue 620): later than the
    # last lookup waits. One that drops questions of one type is down for the others, too:
    # `crawler.scan.hosts` has TLSA asked before AAAA then.
    ("infra-cache-max-rtt", 10_000),
    # Limits of ours must not become their SERVFAIL: as many aliases as our client follows, and
    # more than the longest honest delegation, chain and signature set.
    # For validation an RRset is written out with its owner's name before each record: one of
    # 64 KiB, which has it once, would not fit into the default of 65 552 bytes, and be bogus.
    ("msg-buffer-size", 524_288),
    ("max-query-restarts", 16),
    ("max-sent-count", 128),
    ("max-global-quota", 1_000),
    ("iter-scrub-ns", 64),
    ("iter-scrub-cname", 32),
    ("iter-scrub-rrsig", 32),
    ("root-key-sentinel", "yes"),
    ("minimal-responses", "yes"),
    ("ratelimit", 0),
    ("ip-ratelimit", 0),
    ("wait-limit", 0),  # else questions above 1000 waiting are dropped silently
    ("discard-timeout", 0),  # else every answer slower than 1.9 s is
    ("so-reuseport", "yes"),
    ("so-rcvbuf", "4m"),
    ("so-sndbuf", "4m"),
    ("incoming-num-tcp", 100),
    ("outgoing-num-tcp", 100),
    ("infra-cache-numhosts", 1_000_000),
    ("max-udp-size", 4096),  # clients are on loopback: TCP only where an answer is larger
)


def _word(value: bool) -> str:
    return "yes" if value else "no"


def configuration(
    settings: ResolverSettings, machine: Machine, *, second_look: bool = False
) -> str:
    """The text of unbound.conf for this machine, every option included (see `accepted`).

    Raises UsageFault for a trust anchor that cannot be read, LocalTrouble for an open-file
    limit too low to work with.
    """
    which = "second look: qname minimisation on" if second_look else "first look"
    lines = [f"# danesurvey: the survey's resolver ({which}). Generated.", "server:"]
    options = _options(settings, machine, second_look=second_look)
    lines += [f"    {name}: {value}" for name, value in options]
    lines += [
        "remote-control:",
        "    control-enable: yes",
        "    control-use-cert: no",
        f'    control-interface: "/proc/self/cwd/{CONTROL}"',
    ]
    return "\n".join(lines) + "\n"


def accepted(text: str, checkconf: Path, directory: Path) -> str:
    """`text` without the options that this Unbound does not know.

    `unbound-checkconf` reads a file in `directory`, where relative paths in `text` lead.
    Raises LocalTrouble with its first complaint if anything else displeases it.
    """
    file = directory / "unbound.conf.new"
    try:
        file.write_text(text)
        refused = _complaints(checkconf, file)
        unknown = {int(found[1]) for found in map(_UNKNOWN.search, refused) if found}
        if unknown:
            # One strange keyword makes it complain of the colon and the value, too.
            kept = [line for i, line in enumerate(text.splitlines(), start=1) if i not in unknown]
            text = "\n".join(kept) + "\n"
            file.write_text(text)
            refused = _complaints(checkconf, file)
    finally:
        file.unlink(missing_ok=True)
    if refused:
        raise LocalTrouble(f"{checkconf.name} refuses the resolver's configuration: {refused[0]}")
    return text


def _complaints(checkconf: Path, file: Path) -> list[str]:
    done = subprocess.run(
        [checkconf, file.name],
        cwd=file.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return []
    return done.stderr.splitlines() or [f"exit code {done.returncode}"]
