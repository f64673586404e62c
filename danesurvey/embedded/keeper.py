"""The process that owns the embedded PostgreSQL server: its parent, and its end.

Every command that uses the server holds a shared flock on one file. This process asks for
the same lock exclusively, and so sleeps in the kernel until the last of them has gone, by
its own end or by `kill -9`: a lock of a dead process is free. Then it stops the server.
While somebody still uses the server it starts it again when it dies.

It is run as a script (`python -I -S keeper.py PLAN`), so it imports nothing but the standard
library and starts in some 20 ms. `danesurvey.embedded.server` alone starts it, in a session of its
own, and hands it the lock that says "a server is alive" as file descriptor 3. The server
inherits that descriptor: the lock is free exactly when this process and every process of the
server are gone, which no pid file can say.

If this process itself is killed, the kernel sends the server SIGINT (PR_SET_PDEATHSIG), and
it shuts down: there is never a server without its keeper.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

ALIVE_FD = 3
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HEALTHY_S = 10.0  # a server that lived longer may be started again as often as before
_RESTARTS = 20  # without a healthy life in between
_PAUSE_S = 0.5  # processes of a killed server need a moment to notice and go
_FAST_SHUTDOWN_S = 4.0  # then immediate shutdown, and recovery at the next start


class Keeper:
    """Starts the server, starts it again while it is used, stops it when it is not."""

    def __init__(self, command: list[str], user: int | None, group: int | None) -> None:
        self._command = command
        self._user = user
        self._group = group
        self._changing = threading.Lock()
        self._unused = threading.Event()
        self._server: int | None = None  # pidfd: a pid may be somebody else's by now

    def keep(self) -> None:
        """Return when the server has ended for good."""
        restarts = 0
        while True:
            started = time.monotonic()
            with self._changing:
                if self._unused.is_set():
                    return
                server = self._start()
                self._server = os.pidfd_open(server.pid)
            server.wait()
            lived_s = time.monotonic() - started
            with self._changing:
                os.close(self._server)
                self._server = None
            if restarts == 0 and lived_s < _HEALTHY_S and server.returncode > 0:
                return  # it could not start, and no signal was why: the command tells
            restarts = 1 if lived_s >= _HEALTHY_S else restarts + 1
            if restarts > _RESTARTS or self._unused.wait(_PAUSE_S):
                return

    def stop_when_unused(self, users: int) -> None:
        """Wait for the exclusive lock on `users`, then end the server.

        SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
        """
        fcntl.flock(users, fcntl.LOCK_EX)
        with self._changing:
            self._unused.set()
            if self._server is None:
                return
            server = os.dup(self._server)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(server, signal.SIGINT)
            if not select.select([server], [], [], _FAST_SHUTDOWN_S)[0]:
                signal.pidfd_send_signal(server, signal.SIGQUIT)

    def _start(self) -> subprocess.Popen[bytes]:
        keeper = os.getpid()

        def end_with_keeper() -> None:
            # After the change of user (which would clear it), before the exec.
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != keeper:
                os._exit(1)

        return subprocess.Popen(
            self._command,
            user=self._user,
            group=self._group,
            extra_groups=None if self._user is None else [],
            stdin=subprocess.DEVNULL,
            pass_fds=(ALIVE_FD,),
            preexec_fn=end_with_keeper,
        )


def main() -> None:
    plan = json.loads(sys.argv[1])
    keeper = Keeper(plan["command"], plan["user"], plan["group"])
    users = os.open(plan["users"], os.O_RDWR | os.O_CLOEXEC)
    threading.Thread(target=keeper.stop_when_unused, args=(users,), daemon=True).start()
    keeper.keep()


if __name__ == "__main__":
    main()
