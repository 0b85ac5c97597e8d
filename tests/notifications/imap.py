"""A real IMAP server of one's own: Debian's Dovecot, without root's help, on a port that is free."""

import grp
import imaplib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 20.0


@dataclass(frozen=True, slots=True)
class Imap:
    url: str
    port: int

    def put(self, raw: bytes) -> None:
        """Let a mail arrive."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=START_S) as box:
            box.login("bounces", "only-for-tests")
            assert box.append("INBOX", None, None, raw)[0] == "OK"

    def left(self) -> list[bool]:
        """Return of each mail that is there whether it was read."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=START_S) as box:
            box.login("bounces", "only-for-tests")
            box.select("INBOX", readonly=True)
            _, found = box.fetch("1:*", "(FLAGS)")
            return [b"\\Seen" in row for row in found if isinstance(row, bytes)]


@contextmanager
def running() -> Iterator[Imap]:
    """Run Dovecot in a folder of its own while the block runs."""
    with tempfile.TemporaryDirectory(prefix="imap") as name:
        os.chmod(name, 0o755)  # its login process is somebody else
        with _serving(Path(name)) as imap:
            yield imap


@contextmanager
def _serving(folder: Path) -> Iterator[Imap]:
    binary = shutil.which("dovecot", path="/usr/sbin:/usr/bin:/sbin")
    assert binary, "no dovecot: apt-get install dovecot-imapd"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "users").write_text("bounces:{PLAIN}only-for-tests::::::\n")
    (folder / "mail").mkdir()
    os.chmod(folder / "mail", 0o777)
    config = folder / "dovecot.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, **_ids()))
    server = subprocess.Popen([binary, "-F", "-c", str(config)])
    try:
        _await(port, server)
        yield Imap(f"imap://bounces:only-for-tests@127.0.0.1:{port}/INBOX", port)
    finally:
        server.terminate()
        server.wait(START_S)


def _ids() -> dict[str, str]:
    """Return who Dovecot's parts run as: ourselves, but the login process and the mailbox never as root."""
    user = pwd.getpwuid(os.getuid()).pw_name
    login = "dovenull" if os.getuid() == 0 else user
    group = grp.getgrgid(os.getgid()).gr_name
    mail = ("nobody", "nogroup") if os.getuid() == 0 else (user, group)
    return {"user": user, "group": group, "login": login, "owner": mail[0], "owners": mail[1]}


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "dovecot ended at once"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("dovecot did not start")


_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 0
first_valid_gid = 0
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login}
mail_location = maildir:{folder}/mail
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={owner} gid={owners} home={folder}/mail
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service stats {{
  chroot =
}}
"""
