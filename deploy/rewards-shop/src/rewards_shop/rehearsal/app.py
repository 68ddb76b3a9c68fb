"""The stand-in over HTTP."""

import base64
import json
from collections.abc import Callable
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from rewards_shop.rehearsal.platform import VENDOR, RehearsalPlatform, failed, succeeded

SECRET = "only-for-rehearsals"  # noqa: S105 - it opens nothing but this stand-in
OPERATIONS = ("commit", "confirm", "rollback")


def create_rehearsal(url: str, shop_url: str, platform: RehearsalPlatform | None = None) -> FastAPI:
    """The stand-in as an app; `/account` is where its one person starts."""
    stage = platform or RehearsalPlatform(url)
    app = FastAPI(title="Rehearsal of the platform", openapi_url=None)

    def refused(request: Request) -> Response | None:
        expected = "Basic " + base64.b64encode(f"{VENDOR}:{SECRET}".encode()).decode()
        known = request.headers.get("Authorization") == expected
        return None if known else JSONResponse({"code": "invalid_client"}, 401, {"WWW-Authenticate": "Basic"})

    @app.get("/account")
    async def account() -> Response:
        rows = "".join(
            f'<li>{escape(user)}: {points} points <a href="/go/{escape(user)}">Redeem</a>'
            for user, points in stage.balances.items()
        )
        return HTMLResponse(f"<!doctype html><title>Rehearsal</title><h1>Rehearsal platform</h1><ul>{rows}</ul>")

    @app.get("/go/{user_id}")
    async def go(user_id: str) -> Response:
        return RedirectResponse(f"{shop_url}/redeem?token={stage.token(stage.claims(user_id))}", 303)

    @app.get("/tenants/demo/jwks.json")
    async def keys() -> Response:
        return JSONResponse(stage.public_keys(), headers={"Cache-Control": "public, max-age=300"})

    @app.post("/sso/v1/tokens/redeem")
    async def redeem(request: Request) -> Response:
        return refused(request) or await once(request, lambda body: stage.redeem(body["token"]))

    @app.post("/eai/v1/points")
    async def operate(request: Request) -> Response:
        (operation,) = [name for name in OPERATIONS if name in request.query_params]
        return refused(request) or await once(request, lambda body: stage.operate(operation, body))

    @app.get("/eai/v1/points/{transaction_id}")
    async def look_up(request: Request, transaction_id: str) -> Response:
        transaction = stage.transactions.get(transaction_id)
        status, body = succeeded(transaction_id, transaction) if transaction else failed(404, "transaction_not_found")
        return refused(request) or JSONResponse(body, status)

    @app.post("/eai/v1/reconciliations")
    async def reconcile(request: Request) -> Response:
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        told = "".join(json.dumps(one) + "\n" for one in stage.reconcile(lines))
        return refused(request) or Response(told, media_type="application/x-ndjson")

    @app.get("/eai/v1/balances/{user_id}")
    async def balance(request: Request, user_id: str) -> Response:
        return refused(request) or JSONResponse({"userid": user_id, "available": stage.balances[user_id]})

    async def once(request: Request, act: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]) -> Response:
        """The same key gets the first answer again."""
        key = request.headers["Idempotency-Key"]
        replayed = key in stage.answers
        if not replayed:
            stage.answers[key] = act(await request.json())
        status, body = stage.answers[key]
        return JSONResponse(body, status, {"Idempotency-Replayed": "true"} if replayed else None)

    return app
