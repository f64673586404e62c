"""What stops a command, said in one line.

Three kinds of error meet in this software (docs/design.md, house style): ours (a bug:
an ordinary exception, with its traceback), theirs (a recorded outcome, never an
exception) and the world's: a missing file, a dead database, a taken port. Only the
last kind is a `Fault`. Its text is one line that says what is wrong and what to do
next; the command line prints it without a traceback and exits with `exit_code`.
"""

from typing import ClassVar


class Fault(Exception):
    """Base of all faults; raise one of the three kinds below."""

    exit_code: ClassVar[int]


class Refused(Fault):
    """The input or the state was examined and is not acceptable (exit code 1)."""

    exit_code = 1


class UsageFault(Fault):
    """The request itself is wrong: arguments, settings, a path that is not there (exit code 2)."""

    exit_code = 2


class LocalTrouble(Fault):
    """This machine lacks something: database, resolver, port, disk, privilege (exit code 3)."""

    exit_code = 3
