"""A service that runs inside the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

#: https, since production mode asks for it and tests of addresses should look like production.
PUBLIC_URL = "https://points.example"


@asynccontextmanager
async def running(app: FastAPI, base_url: str = PUBLIC_URL) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` while its lifespan runs; unexpected errors come as answers, as over a network."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
            yield client


async def readiness(client: httpx.AsyncClient) -> httpx.Response:
    """What `/readyz` says when each check has answered. It waits a second for them; a busy machine may need longer."""
    while True:
        answer = await client.get("/readyz")
        if "does not answer" not in answer.json()["checks"].values():
            return answer
