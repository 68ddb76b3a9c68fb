"""The one way to a PostgreSQL: engine, raw connections, migrations and commands all connect by `DatabaseUrl.connect`.

    postgresql://role:password@db-1,db-2:5433/points?sslmode=verify-full&sslrootcert=/etc/ca.pem
        &target_session_attrs=read-write&connect_timeout=3          (in one line)

asyncpg reads the URL, as libpq would: TLS, `target_session_attrs`, `options`, `application_name`. What libpq has and
asyncpg lacks is added here: TCP keep-alive, the authorities that the system trusts (`sslrootcert=system`), and a
`connect_timeout` for each of several hosts. asyncpg's own is for all of them together, so that a first host which is
gone without a word would keep everybody from the second.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.tenant_statements import DistributedConnection

_SCHEMES: Final = frozenset({"postgresql", "postgres"})
#: What a URL may say; asyncpg would send every other name to the server as a setting of the session.
_PARAMETERS: Final = frozenset(
    {
        *("host", "port", "user", "password", "dbname", "passfile", "options", "application_name"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "krbsrvname", "gsslib"),
        *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    }
)
_WHOLE_NUMBERS: Final = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
)
#: libpq's word for the authorities that the system trusts.
_SYSTEM: Final = "system"
#: What may stand beside it; for the rest, name a file.
_FOR_THE_SYSTEM: Final = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"})
_SSL_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_SESSION_ATTRS: Final = frozenset({"any", "primary", "standby", "read-write", "read-only", "prefer-standby"})
#: Why the next host is tried. 57P03 is what a standby says that is starting or taking over.
_NOT_THIS_HOST: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)
_CONNECT_SECONDS: Final = 3.0
_APPLICATION: Final = "points-platform"
#: A server that is gone without a word is noticed after 30 + 3 · 10 s, and not after the two hours of the kernel.
_KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class DatabaseUrl:
    """A URL that was read; `role` is that which it signs in.

    Raises:
        ValueError: it is none; the message names the fault and no password.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError("must begin with postgresql://")
        if parts.fragment:
            raise ValueError("must not have a #; in a password it is %23")
        try:
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise ValueError("must have parameters of the form name=value") from None
        _check(given)
        numbers = {name: int(given.pop(name)) for name in _WHOLE_NUMBERS & set(given)}
        # 0 means to wait for ever, as in libpq.
        seconds = numbers.pop("connect_timeout", None)
        self._connect_seconds = _CONNECT_SECONDS if seconds is None else seconds or None
        self._keepalive = _KEEPALIVE | numbers
        self._has_name = "application_name" in given
        self._tls = _tls_of_the_system(given) if given.get("sslrootcert") == _SYSTEM else None
        ours = _WHOLE_NUMBERS if self._tls is None else _WHOLE_NUMBERS | _FOR_THE_SYSTEM
        given = {name: value for name, value in given.items() if name not in ours}
        left = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] not in ours]
        self.role = given.get("user") or unquote(parts.username or "")
        #: One for each host; the one that was right the last time comes first.
        self._dsns = list(_one_host_each(parts._replace(query="&".join(left)), given))
        wanted = given.get("target_session_attrs")
        # To prefer one kind, all hosts are asked for it before any other is taken.
        self._wanted = ("standby", "any") if wanted == "prefer-standby" else (wanted,)

    async def connect(
        self, *, statement_cache: int = 0, command_seconds: float | None = None, is_distributed: bool = False
    ) -> asyncpg.Connection:
        """A new connection.

        Args:
            statement_cache: how many prepared statements it keeps; none behind PgBouncer in transaction mode.
            command_seconds: how long the server may take for one statement; any time by default.
            is_distributed: whether the tables are distributed by tenant.

        Raises:
            What `asyncpg.connect` raises; of several hosts, for the last one.
        """
        failure: BaseException | None = None
        for wanted in self._wanted:
            for dsn in tuple(self._dsns):
                try:
                    connection = await self._connect(dsn, wanted, statement_cache, command_seconds, is_distributed)
                except _NOT_THIS_HOST as error:
                    failure = error
                    continue
                self._dsns.sort(key=lambda each: each != dsn)
                return connection
        assert failure is not None  # noqa: S101 - there is at least one host
        raise failure

    async def _connect(
        self,
        dsn: str,
        wanted: str | None,
        statement_cache: int,
        command_seconds: float | None,
        is_distributed: bool,
    ) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(
            dsn,
            timeout=self._connect_seconds,
            target_session_attrs=wanted,
            command_timeout=command_seconds,
            statement_cache_size=statement_cache,
            connection_class=DistributedConnection if is_distributed else asyncpg.Connection,
            server_settings={} if self._has_name else {"application_name": _APPLICATION},
            **({} if self._tls is None else {"ssl": self._tls}),
        )
        self._keep_alive(connection)
        return connection

    def engine(
        self,
        *,
        statement_cache: int = 0,
        command_seconds: float | None = None,
        is_distributed: bool = False,
        **options: Any,
    ) -> AsyncEngine:
        """SQLAlchemy's engine on connections of this kind; `options` as of `create_async_engine`."""
        dbapi = cast(Any, PGDialect_asyncpg).import_dbapi()

        async def connect() -> asyncpg.Connection:
            return await self.connect(
                statement_cache=statement_cache, command_seconds=command_seconds, is_distributed=is_distributed
            )

        def create() -> Any:
            # What SQLAlchemy makes of `async_creator`, but with a say in its own cache of statements.
            return dbapi.connect(async_creator_fn=connect, prepared_statement_cache_size=statement_cache)

        return create_async_engine("postgresql+asyncpg://", creator=create, **options)

    def _keep_alive(self, connection: asyncpg.Connection) -> None:
        transport = getattr(connection, "_transport", None)
        opened = transport.get_extra_info("socket") if transport is not None else None
        if opened is None or opened.family == socket.AF_UNIX:
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, self._keepalive["keepalives"])
        for name, option in (
            ("keepalives_idle", "TCP_KEEPIDLE"),
            ("keepalives_interval", "TCP_KEEPINTVL"),
            ("keepalives_count", "TCP_KEEPCNT"),
        ):
            # Not every operating system has all of them.
            number = getattr(socket, option, None)
            if number is not None and self._keepalive[name] > 0:
                opened.setsockopt(socket.IPPROTO_TCP, number, self._keepalive[name])


def checked_database_url(url: str) -> str:
    """The URL itself. Raises ValueError if it is none."""
    DatabaseUrl(url)
    return url


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError("must be postgresql://role:password@host:port/database") from None


def _one_host_each(parts: Any, given: dict[str, Any]) -> Iterator[str]:
    """The same URL for each of its hosts."""
    signs_in, at, hosts = parts.netloc.rpartition("@")
    if hosts or "host" not in given:
        for host in hosts.split(","):
            yield urlunsplit(parts._replace(netloc=f"{signs_in}{at}{host}"))
        return
    named = given["host"].split(",")
    ports = given["port"].split(",") if "port" in given else []
    for number, host in enumerate(named):
        own = {**given, "host": host}
        if ports:
            own["port"] = ports[number] if len(ports) == len(named) else ports[0]
        yield urlunsplit(parts._replace(query=urlencode(own)))


def _tls_of_the_system(given: dict[str, str]) -> ssl.SSLContext:
    """TLS to a server whose certificate and name the system's authorities vouch for, as libpq has it.

    OpenSSL looks for them where the system has them, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` lead.
    """
    if given.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("must have sslmode=verify-full with sslrootcert=system")
    beside = sorted(name for name in given if name.startswith("ssl") and name not in _FOR_THE_SYSTEM)
    if "sslnegotiation" in beside:
        beside.remove("sslnegotiation")
    if beside:
        raise ValueError(f"cannot have {beside[0]} with sslrootcert=system")
    context = ssl.create_default_context()
    if "sslcert" in given:
        try:
            context.load_cert_chain(given["sslcert"], given.get("sslkey"), given.get("sslpassword"))
        except OSError as error:
            raise ValueError("must have a certificate that can be read as sslcert, with its key as sslkey") from error
    return context


def _check(given: dict[str, Any]) -> None:
    unknown = sorted(set(given) - _PARAMETERS)
    if unknown:
        raise ValueError(f"has no parameter {unknown[0]}")
    for name in sorted(_WHOLE_NUMBERS & set(given)):
        if not (given[name].isascii() and given[name].isdigit() and len(given[name]) < 6):
            raise ValueError(f"must have a whole number of seconds or times as {name}")
    for name, allowed in (("sslmode", _SSL_MODES), ("target_session_attrs", _SESSION_ATTRS)):
        if name in given and given[name] not in allowed:
            raise ValueError(f"must have one of {', '.join(sorted(allowed))} as {name}")
