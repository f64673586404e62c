"""One real Postfix among the mail servers, so that not all of them are of our own writing.

It needs root (master(8) and the users of Debian's package) and a namespace of its own, whose
end takes all of Postfix's processes with it. Its user must be able to reach its directories,
wherever the lab's are, so they are mounted over Postfix's own spool, for its processes only.
It receives nothing: every recipient is refused.
"""

import os
import pwd
import shutil
from pathlib import Path

from lab import addresses

_DAEMONS = Path("/usr/lib/postfix/sbin")
_SPOOL = Path("/var/spool/postfix")
_RUN = 'mount --bind "$0" "$1" && exec "$2" -d -c "$1"'
_QUEUE = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "private", "public", "saved", "trace"),
)
_MAIN = """\
compatibility_level = 3.6
config_directory = {directory}
queue_directory = {directory}/queue
data_directory = {directory}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = {host}
mydestination =
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions = reject
smtpd_tls_security_level = may
smtpd_tls_chain_files = {directory}/chain.pem
"""
_MASTER = """\
{address}:{port} inet n - n - - smtpd
tlsmgr   unix       - - n 1000? 1 tlsmgr
postlog  unix-dgram n - n - 1 postlogd
anvil    unix       - - n - 1 anvil
rewrite  unix       - - n - - trivial-rewrite
proxymap unix       - - n - - proxymap
"""


def is_installed() -> bool:
    """Whether Postfix and its users are here."""
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return False
    return (_DAEMONS / "master").exists() and _SPOOL.is_dir()


def write(directory: Path, host: str, address: str, chain: bytes) -> list[str]:
    """Lays out a Postfix that listens at one address; returns what runs it."""
    shutil.rmtree(directory, ignore_errors=True)
    owner = pwd.getpwnam("postfix")
    (directory / "queue" / "pid").mkdir(parents=True)
    for made in (directory / "data", *(directory / "queue" / name for name in _QUEUE)):
        made.mkdir()
        os.chown(made, owner.pw_uid, owner.pw_gid)
    (directory / "chain.pem").touch(mode=0o600)
    (directory / "chain.pem").write_bytes(chain)
    main = _MAIN.format(directory=_SPOOL, daemons=_DAEMONS, host=host)
    (directory / "main.cf").write_text(main, encoding="ascii")
    master = _MASTER.format(address=address, port=addresses.SMTP_PORT)
    (directory / "master.cf").write_text(master, encoding="ascii")
    places = map(str, (directory, _SPOOL, _DAEMONS / "master"))
    return ["unshare", "--mount", "sh", "-c", _RUN, *places]
