"""Whatever is sent to the issuer, the answer is one that OpenAPI names: no 5xx, no undocumented status or shape."""

import secrets
from typing import Any

import httpx
from platform_testing.issuer_world import World
from platform_testing.long_texts import pile_up, watched_work
from platform_testing.openapi import operations_of, try_all


async def test_no_input_gets_an_answer_that_openapi_does_not_name(world: World) -> None:
    client_id, secret = world.add_third_party()
    world.consent(client_id, "points:read")
    by_form = {"client_id": client_id, "client_secret": secret}
    operations = operations_of(world.app)
    assert len([one for one in operations if "{tenant}" in one.path or one.path.endswith("/authority-events")]) == 10
    # From elsewhere each time: an address that is refused so often would only be told to wait.
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)

    def prepare(case: Any, sent: dict[str, Any], number: int) -> None:
        transport.client = ("10.{}.{}.{}".format(*secrets.token_bytes(3)), 50_000)
        if isinstance(sent.get("data"), dict) and number % 4 > 1:
            sent["data"] = {**sent["data"], **by_form}
        if case.operation.path.startswith("/sso/"):
            sent["headers"] = {**sent["headers"], **world.admin}

    async with httpx.AsyncClient(transport=transport, base_url=world.client.base_url) as client:
        known = {"tenant": world.tenant}
        answers = await try_all(client, operations, examples=25, known=known, prepare=prepare)
    for path in ("token", "introspect", "revoke"):
        assert answers.of(f"/tenants/{{tenant}}/oauth/{path}") >= {400, 401, 404}, path


async def test_no_text_costs_more_than_its_length(world: World) -> None:
    """A pile of marks is sorted in quadratic time: wherever a text is taken, it is bounded before."""
    headers = world.register.add(world.tenant, "sso:admin", "sso:issue", "points:redeem", vendor_id="shop")
    with watched_work() as work:
        await try_all(world.client, operations_of(world.app), examples=12, headers=headers, prepare=pile_up)
    assert work.is_bounded()
