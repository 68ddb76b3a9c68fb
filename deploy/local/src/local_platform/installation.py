"""The secrets of an installation for production: makes those that are missing, and checks all of them.

    points-ledger/                    what the service reads in …_SECRETS_DIR, a file for each setting
    points-ledger-owner/              what its migration reads beside
    points-ledger-database/           name and password of the service's role in PostgreSQL
    points-ledger-database-owner/     the same of the role that owns the tables
    service-peers/                    the public keys of all services, the same for each
    points-ledger-next/               while the service's own key is changed: its next one, which nobody reads yet

Each directory is one Secret of Kubernetes, or one directory that a container mounts.
"""

import base64
import binascii
import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from local_platform.secret_making import key, password, private_jwk, public_half
from local_platform.services import SERVICES, Service
from local_platform.state_directory import secret_once, write_private

PEERS = "service-peers"
_PEERS_FILE = "service_peers"
#: As `make run` marks its secrets; services know the mark.
_DEMONSTRATION = re.compile(r"""(^|[:"'])demo[-/"']""")


@dataclass(frozen=True)
class Held:
    """Who reads a directory, and what its loss or its theft means."""

    directory: str
    reader: str
    meaning: str


@dataclass(frozen=True)
class _Role:
    """A role of PostgreSQL: where its name and password lie, and the file with its URL."""

    name: str
    directory: str
    url_file: str


class Installation:
    """The secrets below one directory.

    Args:
        database: host and port of PostgreSQL, as in `database-rw:5432`, for the URLs that are made.
        parameters: what those URLs say after the `?`.
    """

    def __init__(self, directory: Path, database: str, parameters: str) -> None:
        self._directory = directory
        self._database = database
        self._parameters = parameters

    def make(self) -> list[Path]:
        """Makes the files that are missing and returns them. A file that is there stays as it is."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = {path for path, _ in self._files()}
        for service in SERVICES:
            self._make(service)
        peers = self._directory / PEERS / _PEERS_FILE
        if not peers.exists():
            keys = [json.loads(self._path(service, "service_key").read_text()) for service in SERVICES]
            write_private(peers, json.dumps({"keys": [public_half(jwk) for jwk in keys]}))
        return sorted(path for path, _ in self._files() if path not in before)

    def make_next_key(self, service: Service) -> list[Path]:
        """Makes a service's next key, unless there is one, and writes its public half beside all others.

        Returns the files that changed.
        """
        path = self._next(service)
        made = [] if path.exists() else [path]
        jwk = json.loads(secret_once(path, lambda: json.dumps(private_jwk(service.name))))
        peers, published = self._directory / PEERS / _PEERS_FILE, self._published()
        if public_half(jwk) not in published:
            write_private(peers, json.dumps({"keys": [*published, public_half(jwk)]}))
            made.append(peers)
        return made

    def forget_former_keys(self) -> list[str]:
        """Takes from the public keys all that belong to no private key here; returns whose they were."""
        paths = [path for service in SERVICES for path in (self._path(service, "service_key"), self._next(service))]
        present = [public_half(json.loads(path.read_text())) for path in paths if path.exists()]
        published = self._published()
        former = [jwk["kid"] for jwk in published if jwk not in present]
        if former:
            kept = [jwk for jwk in published if jwk in present]
            write_private(self._directory / PEERS / _PEERS_FILE, json.dumps({"keys": kept}))
        return former

    def faults(self) -> list[str]:
        """What is wrong, a sentence each. Empty if every service can start with these."""
        found = [f"{self._short(path)}: anybody on this machine can read it; chmod 600" for path in self._open_files()]
        for service in SERVICES:
            found += self._faults_of(service)
        return found

    def held(self) -> Iterator[Held]:
        """Each directory with its readers, in the order of their names."""
        for service in SERVICES:
            yield Held(service.name, service.name, _MEANINGS[service.name])
            yield Held(f"{service.name}-owner", f"the migration of {service.name}", "may change the tables")
            yield Held(f"{service.name}-database", "PostgreSQL, when its roles are made", "the service's role")
            yield Held(
                f"{service.name}-database-owner", "PostgreSQL, when its roles are made", "the role that owns the tables"
            )
        yield Held(PEERS, "all four services", "public keys, no secret; all must have the same")

    def _make(self, service: Service) -> None:
        for role in _roles_of(service):
            write_private(self._directory / role.directory / "username", role.name)
            word = secret_once(self._directory / role.directory / "password", password)
            url = f"postgresql://{role.name}:{word}@{self._database}/{service.database}{self._parameters}"
            if not (file := self._directory / role.url_file).exists():
                write_private(file, url)
        secret_once(self._path(service, "service_key"), lambda: json.dumps(private_jwk(service.name)))
        if service.seals:
            secret_once(self._path(service, "key_encryption_keys"), lambda: f"1:{key()}")
        for setting in service.secrets:
            secret_once(self._path(service, setting), key)

    def _faults_of(self, service: Service) -> Iterator[str]:
        yield from self._judged(self._path(service, "service_key"), partial(self._fault_of_key, service))
        if service.seals:
            yield from self._judged(self._path(service, "key_encryption_keys"), _fault_of_encryption_keys)
        for setting in service.secrets:
            yield from self._judged(self._path(service, setting), _fault_of_random)
        for role in _roles_of(service):
            word = _text(self._directory / role.directory / "password")
            yield from self._judged(self._directory / role.url_file, partial(_fault_of_url, role.name, word))
        own = [text for setting in service.secrets if (text := _text(self._path(service, setting))) is not None]
        if len(set(own)) < len(own):
            yield f"{service.name}: {' and '.join(service.secrets)} must differ"

    def _judged(self, path: Path, fault_of: Callable[[str], str | None]) -> Iterator[str]:
        text = _text(path)
        if text is None:
            yield f"{self._short(path)}: missing"
        elif _DEMONSTRATION.search(text):
            yield f"{self._short(path)}: made for a demonstration; production does not start with it"
        elif (fault := fault_of(text)) is not None:
            yield f"{self._short(path)}: {fault}"

    def _fault_of_key(self, service: Service, text: str) -> str | None:
        try:
            jwk = json.loads(text)
            own = public_half(jwk)
            is_whole = jwk["kid"] == service.name and jwk["crv"] == "P-256" and bool(jwk["d"])
        except (ValueError, KeyError, TypeError):
            return "no private JWK"
        if not is_whole:
            return f"no private key on P-256 whose kid is {service.name}"
        try:
            published = json.loads(_text(self._directory / PEERS / _PEERS_FILE) or "")["keys"]
            peers = {(peer["kid"], peer["x"], peer["y"]) for peer in published}
        except (ValueError, KeyError, TypeError):
            return f"{PEERS}/{_PEERS_FILE} is no JWKS"
        if (service.name, own["x"], own["y"]) not in peers:
            return f"{PEERS}/{_PEERS_FILE} lacks its public half, so no other service believes this one"
        return None

    def _path(self, service: Service, setting: str) -> Path:
        return self._directory / service.name / f"{service.prefix.lower()}{setting}"

    def _next(self, service: Service) -> Path:
        return self._directory / f"{service.name}-next" / f"{service.prefix.lower()}service_key"

    def _published(self) -> list[dict[str, str]]:
        keys: list[dict[str, str]] = json.loads((self._directory / PEERS / _PEERS_FILE).read_text())["keys"]
        return keys

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self._directory))

    def _files(self) -> Iterator[tuple[Path, int]]:
        for path in self._directory.glob("*/*"):
            if path.is_file():
                yield path, path.stat().st_mode

    def _open_files(self) -> list[Path]:
        return sorted(path for path, mode in self._files() if mode & (stat.S_IRWXG | stat.S_IRWXO))


_MEANINGS = {
    "points-ledger": "with its key anybody can call as the ledger",
    "sso-issuer": "opens the signing keys of all tenants; keep a copy apart from the backups",
    "partner-onboarding": "without pepper and account name key nobody can sign in; keep a copy apart from the backups",
    "token-service": "opens the keys of campaign tokens; keep a copy apart from the backups",
}


def _roles_of(service: Service) -> tuple[_Role, _Role]:
    setting = service.prefix.lower()
    own, owner = f"{service.name}-database", f"{service.name}-database-owner"
    return (
        _Role(service.database, own, f"{service.name}/{setting}database_url"),
        _Role(f"{service.database}_owner", owner, f"{service.name}-owner/{setting}migration_database_url"),
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _fault_of_random(text: str) -> str | None:
    try:
        long_enough = len(base64.b64decode(text, validate=True)) >= 32
    except binascii.Error:
        long_enough = False
    return None if long_enough else "must be base64 of at least 32 random bytes (openssl rand -base64 32)"


def _fault_of_encryption_keys(text: str) -> str | None:
    numbers = []
    for part in text.split(","):
        number, _, value = part.partition(":")
        try:
            fits = number.isdecimal() and len(base64.b64decode(value, validate=True)) == 32
        except binascii.Error:
            fits = False
        if not fits:
            return "must be 1:<base64 of 32 bytes>,2:…"
        numbers.append(int(number))
    return None if len(set(numbers)) == len(numbers) else "a number is given twice"


def _fault_of_url(role: str, word: str | None, text: str) -> str | None:
    parts = urlsplit(text)
    if parts.scheme != "postgresql" or not parts.hostname:
        return "must be postgresql://role:password@host:port/database"
    if parts.username != role:
        return f"signs in as {parts.username}, not as {role}"
    if word is not None and parts.password != word:
        return "has another password than the role"
    return None
