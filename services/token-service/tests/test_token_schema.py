"""Whatever is sent, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

from collections.abc import AsyncIterator

import pytest
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.long_texts import pile_up, watched_work
from platform_testing.openapi import operations_of, try_all
from platform_testing.serving import running
from token_service.app import create_app

from .campaign_house import OFFER, House
from .conftest import MakeSettings


@pytest.fixture
async def patient(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str
) -> AsyncIterator[House]:
    """A service whose budget for guesses does not answer most of what is made up here."""
    budgets = {"bad_signatures_per_credential": 10**6, "bad_signatures_per_address": 10**6}
    app = create_app(make_settings(**budgets), register=register)
    async with running(app) as client:
        yield House(app, client, campaign, tenant)


async def test_no_input_gets_an_answer_that_openapi_does_not_name(patient: House) -> None:
    token = await patient.issue()
    await patient.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=patient.headers)
    operations = operations_of(patient.app)
    assert len(operations) >= 14
    known = {"token": token, "campaign_id": "spring"}
    await try_all(patient.client, operations, examples=12, headers=patient.headers, known=known)


def test_openapi_says_what_is_kept_in_clear(patient: House) -> None:
    schemas = patient.app.openapi()["components"]["schemas"]
    for name in ("customer_id", "attributes"):
        assert "no personal data" in str(schemas["OrderBody"]["properties"][name]).replace(
            "no other personal", "no personal"
        )


def test_openapi_has_every_operation_of_the_contract_and_says_how_it_is_called(patient: House) -> None:
    document = patient.app.openapi()
    assert document["openapi"].startswith("3.1")
    wanted = {
        "/v1/tokens": {"post"},
        "/v1/tokens/batch": {"post"},
        "/v1/tokens/import": {"post"},
        "/v1/tokens/{token}": {"get", "delete"},
        "/v1/tokens/{token}/verify": {"post"},
        "/v1/tokens/{token}/stats": {"get"},
        "/v1/tokens/{token}/qr.svg": {"get"},
        "/v1/tokens/{token}/qr.png": {"get"},
        "/v1/campaigns/{campaign_id}/stats": {"get"},
        "/v1/campaigns/{campaign_id}/tokens": {"delete"},
        "/v1/campaigns/{campaign_id}/landing": {"get", "put", "delete"},
    }
    for path, methods in wanted.items():
        assert methods <= set(document["paths"][path]), path
        for method in methods:
            operation = document["paths"][path][method]
            assert operation["security"], path
            assert "422" not in operation["responses"]
            assert {"4XX", "5XX"} <= set(operation["responses"])


async def test_a_service_token_is_no_credential_here(house: House, service_keys: ServiceKeys) -> None:
    headers = service_keys.headers("sso-issuer", "token-service")
    assert (await house.client.get("/v1/campaigns", headers=headers)).status_code == 401


async def test_no_text_costs_more_than_its_length(patient: House) -> None:
    """A pile of marks is sorted in quadratic time: wherever a text is taken, it is bounded before."""
    with watched_work() as work:
        await try_all(patient.client, operations_of(patient.app), examples=12, headers=patient.headers, prepare=pile_up)
    assert work.is_bounded()
