"""Vendors: agreed on by an administrator, seen by their own tenant only."""

import asyncio
from urllib.parse import unquote

import httpx
import pytest
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.issuer_world import World
from platform_testing.serving import running
from shared.settings import Mode
from sso_issuer.app import create_app


async def test_a_vendor_is_created_once_and_then_changed(world: World) -> None:
    path, body = "/sso/v1/vendors/shop", {"name": "Shop", "redirect_url": "https://shop.example/"}
    first = await world.client.put(path, json=body, headers=world.admin)
    again = await world.client.put(path, json=body | {"delivery": "form_post"}, headers=world.admin)
    assert (first.status_code, again.status_code) == (201, 200)
    shown = await world.client.get(path, headers=world.admin)
    assert shown.json() == again.json()
    assert {name: value for name, value in shown.json().items() if not name.endswith("_at")} == {
        "vendor_id": "shop",
        "name": "Shop",
        "redirect_url": "https://shop.example/",
        "delivery": "form_post",
        "algorithm": "ES256",
        "lifetime_seconds": 60,
        "claim_spelling": "lower",
        "audience": "shop",
        "issuer": world.issuer,
        "jwks_uri": f"{world.issuer}/jwks.json",
    }
    assert shown.json()["created_at"] == first.json()["created_at"] < shown.json()["updated_at"]


@pytest.mark.parametrize("path", ["a%2Fb", "a/b/c", "%2F", "a%2F"])
async def test_an_id_may_contain_a_slash_on_every_path(world: World, path: str) -> None:
    address, vendor_id = f"/sso/v1/vendors/{path}", unquote(path)
    body = {"name": "Shop", "redirect_url": "https://shop.example/", "algorithm": "HS256"}
    made = await world.client.put(address, json=body, headers=world.admin)
    assert (made.status_code, made.json()["vendor_id"]) == (201, vendor_id)
    assert (await world.client.get(address, headers=world.admin)).json() == made.json()
    secret = await world.client.post(f"{address}/secrets", headers=world.admin)
    assert (secret.status_code, secret.json()["vendor_id"]) == (201, vendor_id)
    assert (await world.client.get(f"{address}/examples", headers=world.admin)).json()["examples"]
    assert (await world.redirect(vendor_id))["vendor_id"] == vendor_id
    asked = await world.client.get(f"/sso/v1/redeem/{path}", headers={"Accept": "text/html"})
    assert asked.status_code == 303


async def test_a_change_replaces_everything(world: World) -> None:
    await world.put_vendor(lifetime_seconds=300, claim_spelling="camel", audience="elsewhere")
    body = await world.put_vendor()
    assert (body["lifetime_seconds"], body["claim_spelling"], body["audience"]) == (60, "lower", "shop")


async def test_vendors_are_listed_in_pages(world: World) -> None:
    for vendor_id in ("b", "a", "c"):
        await world.put_vendor(vendor_id)
    first = await world.client.get("/sso/v1/vendors", params={"limit": 2}, headers=world.admin)
    assert [vendor["vendor_id"] for vendor in first.json()["vendors"]] == ["a", "b"]
    cursor = first.json()["next_cursor"]
    last = await world.client.get("/sso/v1/vendors", params={"limit": 2, "cursor": cursor}, headers=world.admin)
    assert [vendor["vendor_id"] for vendor in last.json()["vendors"]] == ["c"]
    assert last.json()["next_cursor"] is None


async def test_another_tenant_sees_and_changes_its_own_only(world: World) -> None:
    await world.put_vendor(name="Mine")
    stranger = world.register.add("t-stranger-2", "sso:admin")
    assert (await world.client.get("/sso/v1/vendors/shop", headers=stranger)).status_code == 404
    secret = await world.client.post("/sso/v1/vendors/shop/secrets", json={}, headers=stranger)
    assert (secret.status_code, secret.json()["code"]) == (404, "vendor_not_found")
    body = {"name": "Theirs", "redirect_url": "https://theirs.example/"}
    await world.client.put("/sso/v1/vendors/shop", json=body, headers=stranger)
    mine = await world.client.get("/sso/v1/vendors/shop", headers=world.admin)
    assert mine.json()["name"] == "Mine"


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/shop"), ("GET", "/shop"), ("GET", ""), ("POST", "/shop/secrets")]
)
async def test_only_administrators_look_after_vendors(world: World, method: str, path: str) -> None:
    url = f"/sso/v1/vendors{path}"
    body = {"name": "Shop", "redirect_url": "https://shop.example/"} if method == "PUT" else {}
    sent = None if method == "GET" else body
    answer = await world.client.request(method, url, headers=world.platform, json=sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    answer = await world.client.request(method, url, json=sent)
    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "redirect_url",
    [
        "http://shop.example/",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "//shop.example/",
        "shop.example",
        "https://",
        "https:///path",
        "https://user:password@shop.example/",
        "https://@shop.example/",
        "https://shop.example/#top",
        "https://shop.example/#",
        "https://shop.example:port/",
        "https://shop.example:99999/",
        "https://shop.example/\r\nX: y",
        "https://shop.example/ x",
        "https://shop.example\\@evil.example/",
        "https://shöp.example/",
        "https://shop.example/?token=mine",
        "https://shop.example/?a=1&%74oken=mine",
        "https://[::1/",
        "",
        "https://shop.example/" + "a" * 2048,
    ],
)
async def test_a_token_is_sent_to_nothing_but_a_plain_https_address(world: World, redirect_url: str) -> None:
    body = {"name": "Shop", "redirect_url": redirect_url}
    answer = await world.client.put("/sso/v1/vendors/shop", json=body, headers=world.admin)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_redirect_url", "malformed_request"}


async def test_a_scheme_in_capitals_is_the_same_scheme(world: World) -> None:
    body = {"name": "Shop", "redirect_url": "HTTPS://Shop.example/Redeem?a=B"}
    answer = await world.client.put("/sso/v1/vendors/shop", json=body, headers=world.admin)
    assert (answer.status_code, answer.json()["redirect_url"]) == (201, body["redirect_url"])
    assert (await world.redirect("shop"))["url"].startswith(f"{body['redirect_url']}&token=")


async def test_development_allows_plain_http(
    make_settings: object, register: FakeRegister, tenant: str, service_keys: ServiceKeys
) -> None:
    assert callable(make_settings)
    settings = make_settings(mode=Mode.DEVELOPMENT, public_url="http://localhost:8660")
    body = {"name": "Shop", "redirect_url": "http://localhost:8661/redeem"}
    async with running(create_app(settings, register=register)) as client:
        admin = register.add(tenant, "sso:admin")
        answer = await client.put("/sso/v1/vendors/shop", json=body, headers=admin)
    assert answer.status_code == 201
    assert answer.json()["issuer"] == f"http://localhost:8660/tenants/{tenant}"


@pytest.mark.parametrize("audience", ["https://points.example", "https://points.example/", "https://points.example/x"])
async def test_an_audience_of_the_platform_itself_is_refused(world: World, audience: str) -> None:
    body = {"name": "Shop", "redirect_url": "https://shop.example/", "audience": audience}
    answer = await world.client.put("/sso/v1/vendors/shop", json=body, headers=world.admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "audience_reserved")


async def test_two_vendors_of_a_tenant_never_share_an_audience(world: World) -> None:
    await world.put_vendor("one", audience="two")
    body = {"name": "Two", "redirect_url": "https://two.example/"}
    answer = await world.client.put("/sso/v1/vendors/two", json=body, headers=world.admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "audience_taken")


async def test_onboarding_learns_the_names_and_nobody_else(world: World, service_keys: ServiceKeys) -> None:
    await world.put_vendor("b", name="Bee")
    await world.put_vendor("a", name="Ant")
    path = f"/internal/tenants/{world.tenant}/vendors"
    asked = service_keys.headers("partner-onboarding", "sso-issuer")
    assert (await world.client.get(path, headers=asked)).json() == {
        "vendors": [{"vendor_id": "a", "name": "Ant"}, {"vendor_id": "b", "name": "Bee"}]
    }
    assert (await world.client.get("/internal/tenants/nobody/vendors", headers=asked)).json() == {"vendors": []}
    for wrong, status in (
        (service_keys.headers("token-service", "sso-issuer"), 403),
        (service_keys.headers("partner-onboarding", "points-ledger"), 401),
        (world.admin, 401),
        ({}, 401),
    ):
        assert (await world.client.get(path, headers=wrong)).status_code == status


async def test_of_changes_to_one_state_of_an_agreement_one_is_made(world: World) -> None:
    path, body = "/sso/v1/vendors/shop", {"name": "Shop", "redirect_url": "https://shop.example/"}

    async def put(seconds: int, condition: str, tag: str) -> httpx.Response:
        headers = {**world.admin, condition: tag}
        return await world.client.put(path, json=body | {"lifetime_seconds": seconds}, headers=headers)

    made = await asyncio.gather(*(put(seconds, "If-None-Match", "*") for seconds in range(1, 6)))
    assert sorted(answer.status_code for answer in made) == [201, 412, 412, 412, 412]
    tag = (await world.client.get(path, headers=world.admin)).headers["ETag"]
    changed = await asyncio.gather(*(put(seconds, "If-Match", tag) for seconds in range(11, 16)))
    assert sorted(answer.status_code for answer in changed) == [200, 412, 412, 412, 412]
    (winner,) = [answer for answer in changed if answer.status_code == 200]
    refused = next(answer for answer in changed if answer.status_code == 412)
    present = await world.client.get(path, headers=world.admin)
    assert present.json() == winner.json()
    assert present.headers["ETag"] == winner.headers["ETag"] == refused.json()["etag"]
    assert refused.json()["code"] == "precondition_failed"
