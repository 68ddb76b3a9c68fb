"""Builds the service: the only place that does, and nothing runs at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from fastapi import FastAPI
from shared.callers import Callers, HttpRegister, Register
from shared.calling import ServiceClient
from shared.db import Database
from shared.jwks import TenantKeys
from shared.migrating import check_is_current
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.service_app import create_service_app
from shared.service_tokens import ServiceTokens
from shared.settings import Mode

from token_service.keys.ring import KeyRing
from token_service.keys.sequences import Sequences
from token_service.settings import Settings
from token_service.tokens import routes as token_routes
from token_service.tokens.issuing import Issuing
from token_service.tokens.verifying import Verifying

PACKAGE = "token_service"


def create_app(
    settings: Settings,
    *,
    register: Register | None = None,
    onboarding_transport: httpx.AsyncBaseTransport | None = None,
    issuer_transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """The service.

    Args:
        register: handed in by tests; partner-onboarding over HTTP otherwise.
        onboarding_transport, issuer_transport: handed in by tests; the network otherwise.
    """
    database = Database.of(settings)
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    service_tokens = ServiceTokens(settings.service_key, settings.service_peers)
    onboarding = ServiceClient(
        settings.onboarding_url,
        audience="partner-onboarding",
        service_tokens=service_tokens,
        transport=onboarding_transport,
    )
    keys = TenantKeys(settings.issuer_url, transport=issuer_transport)
    ring = KeyRing(database, sealer, ahead=timedelta(seconds=settings.key_ahead_seconds))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        issuing = Issuing(database, Sequences(database, ring), lanes=settings.lanes, batch_size=settings.batch)
        verifying = Verifying(database, ring, lanes=settings.lanes, batch_size=settings.batch)
        app.state.issuing = issuing
        app.state.verifying = verifying
        try:
            yield
        finally:
            # What was accepted is written before the connections go.
            await issuing.close()
            await verifying.close()
            await onboarding.aclose()
            await keys.aclose()
            await database.dispose()

    app = create_service_app(
        settings,
        title="token-service",
        description="Unique, verifiable campaign tokens: issued, verified, used up exactly, and counted.",
        lifespan=lifespan,
        readiness={"database": lambda: check_is_current(database, PACKAGE), "keys": ring.check_opens},
    )
    app.state.service_tokens = service_tokens
    app.state.callers = Callers(
        register or HttpRegister(onboarding),
        keys=keys,
        public_url=settings.public_url,
        proxies=app.state.proxies,
    )
    app.state.plain_http = settings.mode is Mode.DEVELOPMENT
    app.router.add_route("/v1/tokens", token_routes.issue, methods=["POST"])
    app.router.add_route("/v1/tokens/{token}/verify", token_routes.verify, methods=["POST"])
    app.router.add_route("/v1/tokens/{token}", token_routes.look, methods=["GET"])
    return app
