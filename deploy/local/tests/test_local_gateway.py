"""The gateway, with the real Caddy: which path leads to whom, and that nothing else leads anywhere."""

import asyncio
import json
import ssl
import time
from pathlib import Path

import httpx
import pytest
from local_platform.gateway import certificate_authority, gateway_command, gateway_environment
from local_platform.ports import Ports
from local_platform.processes import launch
from platform_testing.tried_gateway import Gateway, free_ports, wait_for


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("points-ledger", "/eai/v1/points?commit"),
        ("points-ledger", "/eai/v1/points/order%2F1"),
        ("points-ledger", "/v1/accounts/demo-ada/credits"),
        ("points-ledger", "/v1/credits/import"),
        ("points-ledger", "/v1/vendors/a-shop"),
        ("points-ledger", "/v1/holds?user_id=x"),
        ("points-ledger", "/events/v1/points"),
        ("sso-issuer", "/events/v1/redirects/endpoints"),
        ("sso-issuer", "/sso/v1/redirects"),
        ("sso-issuer", "/.well-known/jwks.json"),
        ("sso-issuer", "/tenants/demo/oauth/token"),
        ("partner-onboarding", "/"),
        ("partner-onboarding", "/user/partner/init-register-handshake"),
        ("partner-onboarding", "/registrieren/?registerCode=x"),
        ("partner-onboarding", "/register/"),
        ("partner-onboarding", "/login"),
        ("partner-onboarding", "/logout"),
        ("partner-onboarding", "/account"),
        ("partner-onboarding", "/integrations/apply"),
        ("partner-onboarding", "/operations"),
        ("partner-onboarding", "/setup/a-client?state=1"),
        ("partner-onboarding", "/consents"),
        ("partner-onboarding", "/static/style.css"),
        ("partner-onboarding", "/v1/users/internal"),
        ("partner-onboarding", "/v1/clients"),
        ("partner-onboarding", "/v1/integration-requests/7/approve"),
        ("partner-onboarding", "/v1/consents/x"),
    ],
)
def test_a_path_leads_to_its_service_as_it_came(gateway: Gateway, service: str, path: str) -> None:
    response = gateway.get(path)
    assert response.status_code == 200
    head = json.loads(response.text.splitlines()[0])
    assert (head["port"], head["path"]) == (gateway.ports.of_services()[service], path.partition("?")[0])


@pytest.mark.parametrize(
    "path",
    [
        "/internal/clients/check",
        "//internal/clients/check",
        "/%69nternal/clients/check",
        "/%2Finternal/clients/check",
        "/INTERNAL/clients/check",
        "/eai/../internal/clients/check",
        "/eai/%2e%2e/internal/clients/check",
        "/eai/..%2finternal/clients/check",
        "/internal/../eai/v1/points",
        "/internal/clients/check/..%2f..%2f..%2feai%2f",
        "/./internal/clients/check",
        "/metrics",
        "/healthz",
        "/readyz",
        "/docs",
        "/openapi.json",
        "/eai/../metrics",
        "/v1/nobody",
        "/v1/accountsandmore",
        "/events/v1/nobody",
        "//eai/v1/points",
        "//evil.example/login",
        "/%2Fevil.example/login",
        "/favicon.ico",
    ],
)
def test_what_is_not_public_cannot_be_reached_however_it_is_written(gateway: Gateway, path: str) -> None:
    response = gateway.get(path, headers={"X-Request-Id": "me-1"})
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert response.headers["x-request-id"] == response.json()["request_id"] == "me-1"


def test_an_unknown_address_is_a_problem_of_rfc_9457(gateway: Gateway) -> None:
    response = gateway.get("/nowhere")
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["title"], body["status"], body["code"]) == (
        "/developers/codes#not_found",
        "Not Found",
        404,
        "not_found",
    )


def test_a_service_that_is_down_is_unavailable_for_a_moment_and_the_log_keeps_no_secret(gateway: Gateway) -> None:
    response = gateway.get("/v1/tokens/feedface/verify?token=feedface")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "service_unavailable"
    assert "feedface" not in gateway.log.read_text()


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "status", "english", "german"),
    [
        ("/nowhere", 404, "Page not found", "Seite nicht gefunden"),
        ("/campaigns/spring", 503, "Not available at the moment", "Gerade nicht verfügbar"),
    ],
)
def test_people_get_a_page_in_their_language(
    gateway: Gateway, path: str, status: int, english: str, german: str
) -> None:
    for headers, title, language in (
        ({}, english, "en"),
        ({"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}, german, "de"),
        ({"Accept-Language": "en-GB,en;q=0.9,de;q=0.8"}, english, "en"),
        ({"Accept-Language": "de", "Cookie": "a=b; lang=en"}, english, "en"),
        ({"Accept-Language": "en", "Cookie": "__Host-lang=de"}, german, "de"),
    ):
        page = gateway.get(path, headers=BROWSER | headers | {"X-Request-Id": "ask-me"})
        assert page.status_code == status
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        if status == 404 and "Cookie" in headers:
            continue  # what no service takes gets no cookies either
        assert page.headers["content-language"] == language
        assert f"<h1>{title}</h1>" in page.text
        assert f'<html lang="{language}">' in page.text
        assert "ask-me" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        assert page.headers.get("retry-after") == ("2" if status == 503 else None)


def test_a_page_of_a_service_that_hangs_is_waited_for_two_seconds_at_most(gateway: Gateway, services: None) -> None:
    begun = time.monotonic()
    page = gateway.get("/operations/hangs", headers=BROWSER)
    assert time.monotonic() - begun < 4
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")


def test_eai_is_refused_in_its_own_shape(gateway: Gateway) -> None:
    response = gateway.get("/eai/../eai/v1/points")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["status"] == "failed"
    assert response.json()["message"]


def test_nobody_passes_for_another_address_or_request(gateway: Gateway) -> None:
    claimed = {
        "X-Forwarded-For": "10.9.8.7",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Real-Ip": "10.9.8.7",
        "Forwarded": "for=10.9.8.7",
        "X-Request-Id": 'quoted"and long',
    }
    headers = json.loads(gateway.get("/eai/", headers=claimed).text.splitlines()[0])["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == f"localhost:{gateway.ports.gateway}"
    assert headers["x-request-id"] != claimed["X-Request-Id"]
    assert not {"forwarded", "x-real-ip"} & set(headers)


@pytest.mark.parametrize(
    ("path", "gets_them"),
    [
        ("/account", True),
        ("/v1/consents/x", True),
        ("/sso/v1/redeem/shop", True),
        ("/sso/v1/redirects", False),
        ("/v1/users/ada", False),
        ("/eai/v1/points", False),
        ("/tenants/demo/oauth/token", False),
    ],
)
def test_cookies_go_only_where_there_are_pages(gateway: Gateway, path: str, gets_them: bool) -> None:
    headers = json.loads(gateway.get(path, headers={"Cookie": "session=s"}).text.splitlines()[0])["headers"]
    assert ("cookie" in headers) is gets_them


def test_the_host_of_landing_pages_has_nothing_else_and_no_cookies(
    services: None, ports: Ports, tmp_path: Path
) -> None:
    own = free_ports()
    environment = {
        **gateway_environment(own, tmp_path, tmp_path / "developers"),
        "GATEWAY_LANDING_HOST": "offers.example",
        "GATEWAY_TOKEN_SERVICE": f"127.0.0.1:{ports.of_services()['points-ledger']}",
    }
    gateway = Gateway(own, tmp_path / "gateway.log", certificate_authority(tmp_path))
    process = launch(gateway_command(tmp_path), environment, gateway.log)
    try:
        wait_for(gateway, "/t/0", process)
        there = {"Host": f"offers.example:{own.gateway}", "Cookie": "__Host-session=s"}
        shown = gateway.get("/t/0123?lang=de", headers=there)
        assert shown.status_code == 200
        asked = json.loads(shown.text.splitlines()[0])
        assert asked["path"] == "/t/0123"
        assert asked["headers"]["host"] == there["Host"]
        assert "cookie" not in asked["headers"]
        for path in ("/", "/login", "/account", "/v1/tokens", "/campaigns", "/eai/v1/points", "/developers", "/t"):
            assert gateway.get(path, headers=there).status_code == 404, path
        assert "cookie" in json.loads(gateway.get("/t/0", headers={"Cookie": "a=b"}).text.splitlines()[0])["headers"]
    finally:
        process.terminate()
        assert process.wait(20) == 0


async def test_of_two_request_ids_none_is_believed(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    twice = "X-Request-Id: me-1\r\nX-Request-Id: me-2\r\n"
    writer.write(f"GET /eai/ HTTP/1.1\r\nHost: localhost\r\n{twice}Connection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    seen = json.loads(next(line for line in answer.splitlines() if line.startswith(b"{")))["headers"]["x-request-id"]
    assert seen
    assert "me-" not in seen


def test_https_is_served_by_an_authority_of_its_own(gateway: Gateway) -> None:
    verify = ssl.create_default_context(cafile=gateway.authority)
    with httpx.Client(verify=verify, trust_env=False) as client:
        assert client.get(f"{gateway.ports.public_tls_url}/login").status_code == 200


def test_where_plain_http_is_for_nothing_else_it_leads_to_https(tmp_path: Path) -> None:
    """As in containers. Whether the gateway is there it tells this machine alone."""
    ports = free_ports()
    environment = {
        **gateway_environment(ports, tmp_path, tmp_path / "developers"),
        "GATEWAY_HTTP_LEADS_TO": "https_only",
        "GATEWAY_HTTPS_PORT": str(ports.gateway_tls),
    }
    gateway = Gateway(ports, tmp_path / "gateway.log", certificate_authority(tmp_path))
    process = launch(gateway_command(tmp_path), environment, gateway.log)
    try:
        wait_for(gateway, "/healthz", process)
        for path in ("/", "/login?next=%2Faccount", "/internal/clients/check", "/metrics"):
            answer = gateway.get(path)
            assert answer.status_code == 308
            assert answer.headers["location"] == f"{ports.public_tls_url}{path}"
        assert "server" not in answer.headers
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_pages_for_developers_are_files_that_the_gateway_shows_itself(gateway: Gateway) -> None:
    """Without a slash, with one, and without an ending; nothing outside of them."""
    site = gateway.log.parent / "developers"
    (site / ".well-known").mkdir(parents=True)
    (site / "openapi").mkdir()
    for name in ("root.html", "index.html", "codes.html", "openapi/vendor.json", ".well-known/api-catalog"):
        (site / name).write_text(name)
    shown = {
        "/developers": "root.html",
        "/developers/": "index.html",
        "/developers/codes": "codes.html",
        "/developers/openapi/vendor.json": "openapi/vendor.json",
        "/.well-known/api-catalog": ".well-known/api-catalog",
    }
    assert {path: gateway.get(path).text for path in shown} == shown
    assert gateway.get("/.well-known/api-catalog").headers["content-type"] == "application/linkset+json"
    assert "default-src 'self'" in gateway.get("/developers").headers["content-security-policy"]
    for path in ("/developers/codes", "/developers/openapi/vendor.json"):
        moved = gateway.get(f"{path}//")
        assert (moved.status_code, moved.headers["location"]) == (308, path)
    for path in ("/developers/nothing", "/developers/../Caddyfile", "/developers/%2e%2e/Caddyfile"):
        assert gateway.get(path).status_code == 404
