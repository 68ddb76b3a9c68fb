"""The account that PostgreSQL's processes run as where we are root, and what it must be able to read."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from local_platform.parents import end_with_parent

UNPRIVILEGED_USER = "pgserver"


def account_to_run_as() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; None means that we are somebody else already."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", UNPRIVILEGED_USER]
        # It may fail: of two starts at once, one finds that the other has done it.
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - found on a fixed path
    try:
        return pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def spawn_as(
    account: pwd.struct_passwd | None,
    command: Sequence[str],
    log: IO[bytes],
    death_signal: signal.Signals,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a command as this account, with nothing of our environment but the PATH, and returns at once.

    Args:
        account: None for our own.
        death_signal: what it gets when the thread that started it ends (Linux).
    """
    return subprocess.Popen(  # noqa: S603 - programs that the caller names
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
        start_new_session=True,  # Ctrl-C in the terminal is for the one who supervises
        preexec_fn=end_with_parent(death_signal),  # noqa: PLW1509 - one system call, takes no lock
    )


def let_others_pass(path: Path) -> None:
    """Grants the missing o+x, and nothing more, on every directory above `path`."""
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def let_others_read(tree: Path) -> None:
    """Files that everybody may know, such as a wheel's own, which an installer with a strict umask keeps to itself."""
    for path in [tree, *tree.rglob("*")]:
        if path.is_symlink() or not path.exists():
            continue
        mode = path.stat().st_mode
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0)
        if mode & wanted != wanted:
            path.chmod(stat.S_IMODE(mode) | wanted)
