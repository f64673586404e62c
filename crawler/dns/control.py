"""Unbound's remote control over a Unix socket.

The protocol is one line each way: `UBCT1 <command>`, then text until end of file. The
socket's file permissions are the authentication (`control-use-cert: no`). Other means of
control, over TCP with certificates, are left to `unbound-control`.
"""

import os
import socket
from datetime import datetime
from pathlib import Path

from dane.faults import LocalTrouble

# What a run's record keeps (measurement, section 1), under our name for it.
_STATISTICS = {
    "queries": "total.num.queries",
    "cache_hits": "total.num.cachehits",
    "recursive_replies": "total.num.recursivereplies",
    "recursion_mean_s": "total.recursion.time.avg",
    "recursion_median_s": "total.recursion.time.median",
    "requestlist_max": "total.requestlist.max",
    "requestlist_exceeded": "total.requestlist.exceeded",
    "requestlist_overwritten": "total.requestlist.overwritten",
    "tcp_questions": "num.query.tcp",
    "tcp_questions_out": "num.query.tcpout",
    "answers_secure": "num.answer.secure",
    "answers_bogus": "num.answer.bogus",
    "answers_servfail": "num.answer.rcode.SERVFAIL",
    "unwanted_replies": "unwanted.replies",
    "message_cache_bytes": "mem.cache.message",
    "rrset_cache_bytes": "mem.cache.rrset",
    "message_cache_entries": "msg.cache.count",
    "rrset_cache_entries": "rrset.cache.count",
    "key_cache_entries": "key.cache.count",
    "infra_cache_entries": "infra.cache.count",
    "uptime_s": "time.up",
}


class Control:
    """One control socket. Each command is a connection of its own; threads may share this."""

    def __init__(self, path: Path, timeout_s: float = 60.0) -> None:
        self.path = path
        self.timeout_s = timeout_s

    def ask(self, command: str) -> str:
        """The reply to one command such as `flush_bogus`.

        Raises LocalTrouble if nobody listens, the reply does not end in time, or it is an
        error. Names from outside never come here unquoted: see `forget`.
        """
        try:
            reply = self._exchange(f"UBCT1 {command}\n".encode("ascii"))
        except OSError as error:
            raise LocalTrouble(f"Unbound's control at {self.path}: {error}") from error
        text = reply.decode("utf-8", "replace")
        if text.startswith("error"):
            raise LocalTrouble(f"Unbound refuses `{command}`: {text.strip()}")
        return text

    def _exchange(self, request: bytes) -> bytes:
        # By way of the directory's descriptor: a path under a deep state directory would
        # not fit into the 108 bytes of a Unix socket's name.
        directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(self.timeout_s)
                stream.connect(f"/proc/self/fd/{directory}/{self.path.name}")
                stream.sendall(request)
                parts = []
                while part := stream.recv(65536):
                    parts.append(part)
                return b"".join(parts)
        finally:
            os.close(directory)

    def flush(self) -> None:
        """Forget which servers failed and what did not validate (measurement, section 1).

        Without it Unbound goes on failing servers from its cache for many minutes after
        they are back, and our outage becomes their fault.
        """
        self.ask("flush_infra all")
        self.ask("flush_bogus")

    def judge_at(self, at: datetime) -> None:
        """Judge signatures as of `at` (UTC) from now on, and forget everything that was judged
        before. The date stands still: Unbound has no clock that runs elsewhere.
        """
        self.ask(f"set_option val-override-date: {override_date(at)}")
        self.ask("flush_zone .")
        self.flush()

    def forget(self, name: str, rrtype: str) -> None:
        """Drop one RRset from the cache. `name` is a key of `dane.names`: plain ASCII."""
        self.ask(f"flush_type {name} {rrtype}")

    def option(self, name: str) -> str | None:
        """The value of a configuration option in force; None if this Unbound has no such."""
        try:
            return self.ask(f"get_option {name}").strip()
        except LocalTrouble as error:
            if "unknown option" in str(error) or "syntax error" in str(error):
                return None
            raise

    def statistics(self) -> dict[str, float]:
        """Counters since the start, in the units of their names, without resetting them."""
        pairs = (line.partition("=") for line in self.ask("stats_noreset").splitlines())
        values = {name: text for name, _, text in pairs}
        return {ours: float(values[its]) for ours, its in _STATISTICS.items() if its in values}


def override_date(at: datetime) -> str:
    """A time as `val-override-date` takes it, which is as RRSIG presents it (RFC 4034 section
    3.2)."""
    return at.strftime("%Y%m%d%H%M%S")
