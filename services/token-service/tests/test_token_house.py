"""What holds for the service as a whole: its settings, its schema, its health, its logs."""

import base64

import pytest
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister
from platform_testing.serving import readiness, running
from pydantic import ValidationError
from shared.migrating import differences, downgrade, upgrade
from shared.settings import Mode
from token_service.app import create_app
from token_service.tables import metadata

from .campaign_house import House, flipped
from .conftest import MakeSettings


async def test_the_migrations_build_exactly_the_tables_of_the_code(house: House) -> None:
    async with house.database.engine.connect() as connection:
        assert await connection.run_sync(differences, metadata) == []


def test_the_migrations_go_back_and_forth(postgres: EmbeddedPostgres) -> None:
    postgres.create_role_and_database("token_service_again", "again")
    url = postgres.url("token_service_again", "token_service_again", "again")
    upgrade(url, "token_service")
    downgrade(url, "token_service", "base")
    upgrade(url, "token_service")


@pytest.mark.parametrize(
    "changed",
    [
        {"key_encryption_keys": ""},
        {"key_encryption_keys": "1:short"},
        {"onboarding_url": "onboarding"},
        {"count_flush_seconds": 2},
        {"retention": "-P1D"},
        {"batch": 0},
        {"mode": Mode.PRODUCTION, "public_url": "http://points.example"},
        {"mode": Mode.PRODUCTION, "key_encryption_keys": "1:demo/" + base64.b64encode(bytes(32)).decode()[5:]},
    ],
)
def test_settings_that_make_no_sense_or_are_not_fit_for_production(
    make_settings: MakeSettings, changed: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        make_settings(**changed)


async def test_production_takes_no_plain_http(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> None:
    app = create_app(make_settings(mode=Mode.PRODUCTION), register=register)
    async with running(app) as client:
        order = {"base_url": "http://x.example", "customer_id": "c", "campaign_id": "k", "duration": 60}
        answer = await client.post("/v1/tokens", json=order, headers=campaign)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_base_url")


async def test_health(house: House) -> None:
    assert (await house.client.get("/healthz")).status_code == 200
    ready = await readiness(house.client)
    told = ready.json()
    assert (told["status"], told["checks"]) == ("ready", {"database": "ok", "keys": "ok"})


async def test_no_token_reaches_a_log(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    token = await house.issue(max_uses=1)
    await house.client.get(f"/t/{token}")
    for other in (token, flipped(token, 3)):
        await house.verify(other)
        await house.verify(other, key="k")
        await house.client.get(f"/v1/tokens/{other}/stats", headers=house.headers)
    printed = capsys.readouterr()
    assert "/v1/tokens/{token}/verify" in printed.err
    assert token not in printed.out + printed.err
    assert flipped(token, 3) not in printed.out + printed.err


async def test_the_database_refuses_more_uses_than_allowed(house: House) -> None:
    await house.issue(max_uses=1)
    with pytest.raises(sa.exc.IntegrityError):
        await house.execute("UPDATE token_service.tokens SET uses = 2 WHERE tenant = :t", t=house.tenant)


async def test_metrics_name_what_to_watch(house: House) -> None:
    await house.verify(flipped(await house.issue(), 3))
    text = (await house.client.get("/metrics")).text
    for name in (
        *("tokens_issued_total", "tokens_verified_total", "tokens_refused_total", "tokens_bad_signatures_total"),
        *("tokens_guess_budgets_exhausted_total", "tokens_tampered_rows_total", "tokens_counts_pending"),
    ):
        assert name in text, name
