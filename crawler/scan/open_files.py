"""How many sessions a scan may have open: each is a file descriptor (getrlimit(2))."""

import resource

_SCANS_AT_ONCE = 2  # in one worker process
_OTHER_FILES = 512


def within_open_files(sessions: int) -> int:
    """As many as this process may have sockets, with the limit raised as far as allowed.

    Two scans share a worker process, and the rest of it needs descriptors too.
    """
    wanted = _SCANS_AT_ONCE * sessions + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return sessions
    return max(1, (soft - _OTHER_FILES) // _SCANS_AT_ONCE)
