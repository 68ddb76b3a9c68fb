"""One URL for engine, raw connections and migrations: TLS, several hosts, and what else a production database needs."""

import asyncio
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.database_url import DatabaseUrl
from shared.db import Database
from sqlalchemy.pool import NullPool


def _certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for `localhost` that it has signed itself, and its key, readable by the server alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


class TlsFront:
    """Speaks TLS in front of a PostgreSQL, as poolers and operators' proxies do: the embedded one cannot itself."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self._behind = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self.port = 0
        #: Connections that came to speak TLS.
        self.taken = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["TlsFront"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # SSLRequest of the protocol: its length and its number.
            assert await reader.readexactly(8) == struct.pack("!ii", 8, 80877103)
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(self._context)
            self.taken += 1
            there, to_there = await asyncio.open_connection("127.0.0.1", self._behind)
            await asyncio.gather(_pass_on(reader, to_there), _pass_on(there, writer))
        except (OSError, asyncio.IncompleteReadError):
            # The client did not like the certificate.
            pass
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@dataclass
class Servers:
    """A PostgreSQL behind TLS, and one that takes no writes, as a standby does."""

    main: EmbeddedPostgres
    read_only: EmbeddedPostgres
    tls: TlsFront
    ca: Path
    other_ca: Path

    def url(self, hosts: str, **parameters: object) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://app:se%2Fcret@{hosts}/app?{query}"


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    directory = tmp_path_factory.mktemp("servers")
    certificate, key = _certificate(directory, "server")
    other, _ = _certificate(directory, "other")
    started: list[EmbeddedPostgres] = []
    try:
        for name in ("main", "read-only"):
            server = EmbeddedPostgres(directory / name, settings={"fsync": "off"})
            server.start()
            started.append(server)
            server.create_role_and_database("app", "se/cret")
        main, read_only = started
        read_only.stop()
        read_only.settings = {**read_only.settings, "default_transaction_read_only": "on"}
        read_only.start()
        async with TlsFront(main.port, certificate, key).open() as tls:
            yield Servers(main, read_only, tls, certificate, other)
    finally:
        for server in started:
            server.stop()


async def test_every_way_to_the_server_speaks_tls_and_checks_its_name(servers: Servers) -> None:
    url = servers.url(f"localhost:{servers.tls.port}", sslmode="verify-full", sslrootcert=servers.ca)
    before = servers.tls.taken
    database = Database(url, pool_size=2)
    try:
        async with database.transaction() as connection:
            assert await connection.scalar(sa.text("SELECT 1")) == 1
        async with database.raw_transaction() as driver:
            assert await driver.fetchval("SELECT 1") == 1
    finally:
        await database.dispose()
    assert servers.tls.taken == before + 2
    engine = DatabaseUrl(url).engine(poolclass=NullPool)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await engine.dispose()
    assert servers.tls.taken == before + 3


async def test_a_server_of_another_name_or_another_authority_is_not_spoken_to(servers: Servers) -> None:
    by_address = servers.url(f"127.0.0.1:{servers.tls.port}", sslmode="verify-full", sslrootcert=servers.ca)
    by_other = servers.url(f"localhost:{servers.tls.port}", sslmode="verify-full", sslrootcert=servers.other_ca)
    for url in (by_address, by_other):
        with pytest.raises(ssl.SSLCertVerificationError):
            await DatabaseUrl(url).connect()
    only_the_authority = servers.url(f"127.0.0.1:{servers.tls.port}", sslmode="verify-ca", sslrootcert=servers.ca)
    await (await DatabaseUrl(only_the_authority).connect()).close()
    without = servers.url(f"localhost:{servers.main.port}", sslmode="require")
    with pytest.raises((ConnectionError, OSError, asyncpg.PostgresError)):
        await DatabaseUrl(without).connect()


@pytest.mark.parametrize("parameters", [{}, {"sslmode": "verify-full"}])
async def test_the_authorities_that_the_system_trusts_vouch_for_the_server_and_its_name(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str]
) -> None:
    by_name, by_address = (
        servers.url(f"{host}:{servers.tls.port}", sslrootcert="system", **parameters)
        for host in ("localhost", "127.0.0.1")
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(servers.ca))
    before = servers.tls.taken
    await (await DatabaseUrl(by_name).connect()).close()
    assert servers.tls.taken == before + 1
    with pytest.raises(ssl.SSLCertVerificationError):
        await DatabaseUrl(by_address).connect()
    monkeypatch.setenv("SSL_CERT_FILE", str(servers.other_ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        await DatabaseUrl(by_name).connect()


@pytest.mark.parametrize("parameters", [{"sslmode": "require"}, {"sslcrl": "/etc/crl.pem"}, {"sslcert": "/nowhere"}])
def test_what_does_not_go_with_the_authorities_of_the_system_is_refused(parameters: dict[str, str]) -> None:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    with pytest.raises(ValueError, match=r"sslrootcert=system|sslcert"):
        DatabaseUrl(f"postgresql://app@localhost/app?sslrootcert=system&{query}")


async def test_of_two_hosts_the_one_that_takes_writes(servers: Servers, unused_tcp_port: int) -> None:
    away = f"localhost:{unused_tcp_port}"
    both = f"{away},localhost:{servers.read_only.port},localhost:{servers.main.port}"
    for attributes, port in (("read-write", servers.main.port), ("read-only", servers.read_only.port)):
        database = Database(servers.url(both, target_session_attrs=attributes), pool_size=2)
        try:
            async with database.transaction() as connection:
                assert await connection.scalar(sa.text("SELECT inet_server_port()")) == port
            async with database.raw_statement() as driver:
                assert await driver.fetchval("SELECT inet_server_port()") == port
        finally:
            await database.dispose()


async def test_a_host_that_is_gone_without_a_word_keeps_nobody_from_the_next(servers: Servers) -> None:
    accepted = 0

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with silent:
        gone = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        for url in (
            servers.url(f"{gone},127.0.0.1:{servers.main.port}", connect_timeout=1, sslmode="disable"),
            servers.url("", host=f"{gone},127.0.0.1:{servers.main.port}", connect_timeout=1, sslmode="disable"),
        ):
            accepted = 0
            way = DatabaseUrl(url)
            for _ in range(3):
                connection = await way.connect()
                assert await connection.fetchval("SELECT inet_server_port()") == servers.main.port
                await connection.close()
            # Only the first connection has waited for it.
            assert accepted == 1


async def test_where_no_standby_is_the_primary_will_do(servers: Servers, unused_tcp_port: int) -> None:
    url = servers.url(
        f"localhost:{unused_tcp_port},localhost:{servers.main.port}", target_session_attrs="prefer-standby"
    )
    connection = await DatabaseUrl(url).connect()
    assert await connection.fetchval("SELECT inet_server_port()") == servers.main.port
    await connection.close()
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await DatabaseUrl(url.replace("prefer-standby", "standby")).connect()


async def test_what_a_url_may_say_besides(servers: Servers) -> None:
    url = servers.url(
        f"localhost:{servers.main.port}",
        options="-c%20work_mem%3D7MB",
        application_name="one-of-many",
        connect_timeout=3,
        keepalives_idle=17,
    )
    connection = await DatabaseUrl(url).connect()
    try:
        assert await connection.fetchval("SHOW work_mem") == "7MB"
        assert await connection.fetchval("SHOW application_name") == "one-of-many"
        opened: socket.socket = connection._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 17
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
    finally:
        await connection.close()
    named = await DatabaseUrl(servers.url(f"localhost:{servers.main.port}")).connect()
    assert await named.fetchval("SHOW application_name") == "points-platform"
    await named.close()


async def test_statement_caches_may_be_off_as_pgbouncer_needs_it(servers: Servers) -> None:
    database = Database(servers.url(f"localhost:{servers.main.port}"), pool_size=1, statement_cache=0)
    try:
        async with database.transaction() as connection:
            for _ in range(3):
                await connection.execute(sa.text("SELECT 1 WHERE 1 = :one"), {"one": 1})
            assert await connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) <= 1
    finally:
        await database.dispose()


async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = DatabaseUrl(f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c?connect_timeout=1&sslmode=disable")
        with pytest.raises((TimeoutError, asyncpg.PostgresError, OSError)):
            await url.connect()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "must begin with"),
        ("mysql://a:b@c/d", "must begin with"),
        ("postgresql+asyncpg://a:b@c/d", "must begin with"),
        ("postgresql://a:b@c/d?sslmode=verify_full", "sslmode"),
        ("postgresql://a:b@c/d?target_session_attrs=writable", "target_session_attrs"),
        ("postgresql://a:b@c/d?sslmod=require", "sslmod"),
        ("postgresql://a:b@c/d?work_mem=7MB", "work_mem"),
        ("postgresql://a:b@c/d?connect_timeout=soon", "connect_timeout"),
        ("postgresql://a:b@c/d?sslmode", "name=value"),
        ("postgresql://a:b#c@d/e", "%23"),
        ("postgresql://a:b@[c/d", "must be postgresql://"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_at_the_start(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refusal:
        DatabaseUrl(url)
    assert "a:b" not in str(refusal.value)
