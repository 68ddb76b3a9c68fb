"""The fixtures of all tests: a real PostgreSQL, keys for service tokens, a register to fill, a tenant.

Registered as a pytest plugin by the root `conftest.py`. Tests do not share rows, since each takes a tenant of its
own (`tenant`): one migrated database a service serves the whole session.
"""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.logs import redact

from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import MigratedDatabase, new_database
from platform_testing.refusals import RefusalWatch, watching_refusals
from platform_testing.sent_statements import listening
from platform_testing.tenant_watch import TenantWatch


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """As in a running service, tracebacks show no values of variables; tests read what a service would print."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=repr),
        ],
        cache_logger_on_first_use=False,
    )


@pytest.fixture(scope="session")
def refusal_watch() -> Iterator[RefusalWatch]:
    with watching_refusals() as watch:
        yield watch


@pytest.fixture(autouse=True)
def _refusals_are_declared(refusal_watch: RefusalWatch) -> Iterator[None]:
    """Fails a test in which a service refused what its OpenAPI document does not name there."""
    yield
    undeclared = sorted(refusal_watch.undeclared)
    refusal_watch.undeclared.clear()
    assert undeclared == []


@pytest.fixture(scope="session")
def _tenant_watch() -> Iterator[TenantWatch]:
    watch = TenantWatch()
    with listening(watch.keep):
        yield watch


@pytest.fixture(autouse=True)
def _statements_name_their_tenant(_tenant_watch: TenantWatch) -> Iterator[None]:
    """Fails a test in which a service sends a statement that tables distributed by tenant would not take."""
    yield
    _tenant_watch.report()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for the session. Nothing in it outlives the session, so it need not wait for the disk."""
    with tempfile.TemporaryDirectory(prefix="points-tests-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", settings={"fsync": "off"})
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_database(postgres: EmbeddedPostgres) -> MigratedDatabase:
    """package → URL of its database, built by its real migrations, under a role of its own."""
    urls: dict[str, str] = {}

    def of(package: str) -> str:
        if package not in urls:
            urls[package] = new_database(postgres, package)
        return urls[package]

    return of


@pytest.fixture(scope="session")
def young_database(postgres: EmbeddedPostgres) -> MigratedDatabase:
    """The same, of a database that nothing has been written to: its planner has no statistics."""
    urls: dict[str, str] = {}

    def of(package: str) -> str:
        if package not in urls:
            urls[package] = new_database(postgres, package, f"{package}_young")
        return urls[package]

    return of


@pytest.fixture(scope="session")
def service_keys() -> ServiceKeys:
    return ServiceKeys()


@pytest.fixture
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test knows."""
    return f"t-{secrets.token_hex(6)}"
