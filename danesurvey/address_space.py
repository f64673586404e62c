"""The limit of a process's address space (`ulimit -v`), below which libraries end us midway.

Threads, Arrow, DuckDB and the resolver reserve far more than they use. A survey of the lab on
two cores needs 2.5 GB; at 2 GB a worker is aborted in the midst of a shard.
"""

import resource

from dane.faults import LocalTrouble

LEAST = 4 << 30


def require_address_space() -> None:
    """Raise LocalTrouble if the limit is below LEAST."""
    size = resource.getrlimit(resource.RLIMIT_AS)[0]
    if size != resource.RLIM_INFINITY and size < LEAST:
        raise LocalTrouble(
            f"this process may use {size / (1 << 30):.1f} GiB of addresses (ulimit -v) and needs "
            f"{LEAST >> 30} GiB: raise the limit, or limit memory by a cgroup (MemoryMax=)"
        )
