"""A gateway to try, with the real Caddy, before services that give back what they were asked."""

import asyncio
import contextlib
import http.client
import json
import random
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_platform.ports import Ports, busy_ports

DOWN = "token-service"
NDJSON = (b"content-type", b"application/x-ndjson")


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

    `/v1/clients` reads all of it first; `/v1/users/refused` refuses before it reads, `/v1/users/slow` after a second of
    waiting for the end, both as services do; `/operations/hangs` never answers.
    """
    if scope["path"] == "/operations/hangs":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if scope["path"] == "/v1/users/slow":
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                _ = [piece async for piece in pieces(receive)]
    if status := {"/v1/users/refused": 401, "/v1/users/slow": 408}.get(scope["path"]):
        headers = [(b"content-length", b"2"), *unfinished(receive)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    body = [piece async for piece, _ in pieces(receive)] if scope["path"] == "/v1/clients" else None
    head = {
        "port": scope["server"][1],
        "path": scope["raw_path"].decode(),
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
    }
    await send({"type": "http.response.start", "status": 200, "headers": [NDJSON, *unfinished(receive)]})
    await send({"type": "http.response.body", "body": json.dumps(head).encode() + b"\n", "more_body": body is None})
    if body is not None:
        return
    async for piece, more in pieces(receive):
        await send({"type": "http.response.body", "body": piece, "more_body": more})


def unfinished(receive: Any) -> list[tuple[bytes, bytes]]:
    """What the services' frame says while the caller still owes some of its body."""
    return [(b"x-body-unfinished", b"1")] if receive.__self__.more_body else []


async def pieces(receive: Any) -> AsyncIterator[tuple[bytes, bool]]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        yield message.get("body", b""), more


def free_ports() -> Ports:
    return next(
        ports
        for ports in iter(lambda: Ports(random.randrange(20_000, 30_000)), None)  # noqa: S311 - no secret
        if not busy_ports(ports.all())
    )


def wait_for(gateway: Gateway, path: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if gateway.get(path).status_code == httpx.codes.OK:
                return
        except OSError:
            continue
    pytest.fail(gateway.log.read_text())
