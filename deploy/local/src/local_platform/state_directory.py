"""Everything `make run` leaves on disk: data, secrets, logs, and the description of what runs."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_LOG_BYTES = 50_000_000
FORMER_LOGS = 3
_PIECE_BYTES = 1 << 20


class StateDirectoryInUse(Exception):
    """Another `make run` works on this directory; the message names it."""


@dataclass(frozen=True)
class StateDirectory:
    """STATE_DIR and the places in it."""

    path: Path

    @property
    def demo_json(self) -> Path:
        return self.path / "demo.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def postgres(self) -> Path:
        return self.path / "postgresql"

    @property
    def gateway(self) -> Path:
        return self.path / "gateway"

    @property
    def developers(self) -> Path:
        """The pages for developers, as the gateway shows them."""
        return self.path / "developers"

    @property
    def shop(self) -> Path:
        return self.path / "rewards-shop"

    @property
    def mail(self) -> Path:
        """Mails are not sent, but written here."""
        return self.path / "mail"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Makes the directories; secrets can be entered by their owner only."""
        for directory in (self.path, self.path / "logs", self.gateway, self.shop):
            directory.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(exist_ok=True, mode=0o700)
        self.secrets.chmod(0o700)
        self.rotate_logs()

    def rotate_logs(self) -> None:
        """Puts long logs aside, of each the last `FORMER_LOGS`. Their programs may run, since they only ever append."""
        for log in (self.path / "logs").glob("*.log"):
            if log.stat().st_size > LONGEST_LOG_BYTES:
                for number in range(FORMER_LOGS - 1, 0, -1):
                    with suppress(FileNotFoundError):
                        log.with_suffix(f".log.{number}").replace(log.with_suffix(f".log.{number + 1}"))
                _move_content(log, log.with_suffix(".log.1"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a second `make run` away for as long as this process lives.

        Raises:
            StateDirectoryInUse: there is one already.
        """
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StateDirectoryInUse(
                    f"the platform already runs on {self.path} (process {lock.read().strip() or 'unknown'}); "
                    "stop it, or choose another STATE_DIR and PORT_BASE"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


def secret_once(path: Path, make: Callable[[], str]) -> str:
    """The secret in the file `path`; made and kept the first time it is asked for."""
    try:
        return path.read_text()
    except FileNotFoundError:
        secret = make()
        write_private(path, secret)
        return secret


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads (0600); readers find the former text or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _move_content(log: Path, former: Path) -> None:
    """What a program writes between the last look and the cut is lost: some microseconds of it."""
    with log.open("r+b") as source, former.open("wb") as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
        source.truncate(0)
