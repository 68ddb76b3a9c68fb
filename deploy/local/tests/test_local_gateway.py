"""The gateway, with the real Caddy: which path leads to whom, and that nothing else leads anywhere."""

import asyncio
import contextlib
import http.client
import json
import random
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from local_platform.gateway import certificate_authority, gateway_command, gateway_environment
from local_platform.ports import Ports, busy_ports
from local_platform.processes import launch

DOWN = "token-service"


@dataclass(frozen=True)
class Gateway:
    ports: Ports
    log: Path
    authority: Path

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Asks for exactly this path; httpx itself would tidy it up first."""
        connection = http.client.HTTPConnection("localhost", self.ports.gateway, timeout=10)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
        finally:
            connection.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says which port was asked for which path, then gives every piece of the body back as it comes in.

    `/v1/clients` reads all of it first, `/v1/users/…` none of it, and refuses; `/operations/hangs` never answers.
    """
    if scope["path"] == "/operations/hangs":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if status := {"/v1/users/refused": 401, "/v1/users/slow": 408}.get(scope["path"]):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    body = [piece async for piece, _ in pieces(receive)] if scope["path"] == "/v1/clients" else None
    head = {
        "port": scope["server"][1],
        "path": scope["raw_path"].decode(),
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
    await send({"type": "http.response.body", "body": json.dumps(head).encode() + b"\n", "more_body": body is None})
    if body is not None:
        return
    async for piece, more in pieces(receive):
        await send({"type": "http.response.body", "body": piece, "more_body": more})


async def pieces(receive: Any) -> AsyncIterator[tuple[bytes, bool]]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        yield message.get("body", b""), more


@pytest.fixture(scope="module")
def ports() -> Ports:
    return _free_ports()


def _free_ports() -> Ports:
    return next(
        ports
        for ports in iter(lambda: Ports(random.randrange(20_000, 30_000)), None)  # noqa: S311 - no secret
        if not busy_ports(ports.all())
    )


@pytest.fixture(scope="module")
def services(ports: Ports) -> Iterator[None]:
    """Every service but one, each an echo, as uvicorn serves the real ones."""
    servers = [
        uvicorn.Server(uvicorn.Config(echo, port=port, log_config=None, lifespan="off", ws="none"))
        for name, port in ports.of_services().items()
        if name != DOWN
    ]

    async def serve_all() -> None:
        await asyncio.gather(*(server.serve() for server in servers))

    thread = threading.Thread(target=asyncio.run, args=[serve_all()])
    thread.start()
    yield
    for server in servers:
        server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def gateway(ports: Ports, services: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    log = directory / "gateway.log"
    environment = gateway_environment(ports, directory, directory / "developers") | {"GATEWAY_IDLE_SECONDS": "2"}
    process = launch(gateway_command(directory), environment, log)
    gateway = Gateway(ports, log, certificate_authority(directory))
    for path in ("/eai/", "/sso/", "/login"):
        _wait_for(gateway, path, process)
    yield gateway
    process.terminate()
    assert process.wait(20) == 0


def _wait_for(gateway: Gateway, path: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if gateway.get(path).status_code == httpx.codes.OK:
                return
        except OSError:
            continue
    pytest.fail(gateway.log.read_text())


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
    ports = _free_ports()
    environment = {
        **gateway_environment(ports, tmp_path, tmp_path / "developers"),
        "GATEWAY_HTTP_LEADS_TO": "https_only",
        "GATEWAY_HTTPS_PORT": str(ports.gateway_tls),
    }
    gateway = Gateway(ports, tmp_path / "gateway.log", certificate_authority(tmp_path))
    process = launch(gateway_command(tmp_path), environment, gateway.log)
    try:
        _wait_for(gateway, "/healthz", process)
        for path in ("/", "/login?next=%2Faccount", "/internal/clients/check", "/metrics"):
            answer = gateway.get(path)
            assert answer.status_code == 308
            assert answer.headers["location"] == f"{ports.public_tls_url}{path}"
        assert "server" not in answer.headers
    finally:
        process.terminate()
        assert process.wait(20) == 0


async def test_a_request_without_end_is_cut_off(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    writer.write(b"POST /v1/clients HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000001\r\n\r\n")

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"x" * 16_000_001)
            await writer.drain()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        await sending
    writer.transport.abort()


@pytest.mark.parametrize("path", ["/v1/users/slow", "/v1/credits/import"])
async def test_a_body_that_stalls_does_not_keep_its_connection(gateway: Gateway, path: str) -> None:
    stalling = [await asyncio.open_connection("127.0.0.1", gateway.ports.gateway) for _ in range(60)]
    for _, writer in stalling:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx".encode())
    try:
        async with asyncio.timeout(20):
            await asyncio.gather(*(_read_to_the_end(reader) for reader, _ in stalling))
    finally:
        for _, writer in stalling:
            writer.transport.abort()


async def _read_to_the_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


@pytest.mark.parametrize("megabytes", [1, 5, 15])
def test_a_refused_upload_reads_why(gateway: Gateway, megabytes: int) -> None:
    """By a client that reads nothing before it has sent all."""
    connection = http.client.HTTPConnection("localhost", gateway.ports.gateway, timeout=20)
    try:
        connection.request("POST", "/v1/users/refused", body=b"x" * megabytes * 1_000_000)
        assert connection.getresponse().status == 401
    finally:
        connection.close()


async def test_an_import_is_answered_line_by_line_while_it_is_sent(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    writer.write(b"POST /v1/credits/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    async with asyncio.timeout(10):
        for number in range(3):
            line = f'{{"line": {number}}}\n'.encode()
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            assert await reader.readuntil(line)
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


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
    for path in ("/developers/nothing", "/developers/../Caddyfile", "/developers/%2e%2e/Caddyfile"):
        assert gateway.get(path).status_code == 404
