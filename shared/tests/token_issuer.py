"""Tenants' authorities that sign access tokens, and questions about these."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from platform_testing.serving import PUBLIC_URL
from shared.callers import Caller, Callers
from shared.errors import Unauthenticated, Unavailable
from shared.jwt import SigningKey
from shared.problems import headers_of, status_of

from .forging import ec_key, private_jwk
from .scopes import scope_of

NOW = 1_800_000_000


class Issuer:
    """The tenants' authorities as a key source that counts, can be stopped, and can be held up."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, dict[str, Any]]] = {}
        self.revoked: set[tuple[str, str]] = set()
        self.asked: list[str] = []
        self.is_down = False
        self.answer: Any = None
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.waiting = self.most = 0

    def add_key(self, tenant: str, kid: str) -> SigningKey:
        jwk = private_jwk(ec_key(), kid)
        self.keys.setdefault(tenant, {})[kid] = {name: value for name, value in jwk.items() if name != "d"}
        return SigningKey.from_jwk(jwk)

    async def key_set(self, tenant: str) -> Mapping[str, Any] | None:
        self.asked.append(tenant)
        # What the database says when the question comes, however long the answer takes.
        found = None if tenant not in self.keys else {"keys": list(self.keys[tenant].values())}
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.let_go.wait()
        finally:
            self.waiting -= 1
        if self.is_down:
            raise Unavailable(log="down")
        return found if self.answer is None else self.answer

    async def revoked_keys(self, watcher: str) -> frozenset[tuple[str, str]]:
        if self.is_down:
            raise Unavailable(log="down")
        return frozenset(self.revoked)

    async def aclose(self) -> None:
        return


def claims(tenant: str = "demo", **changed: Any) -> dict[str, Any]:
    return {
        "iss": f"{PUBLIC_URL}/tenants/{tenant}",
        "aud": PUBLIC_URL,
        "iat": NOW,
        "exp": NOW + 600,
        "jti": "token-1",
        "sub": "ada",
        "client_id": "third-party",
        "scope": "points:read users:read",
        "tenant": tenant,
    } | changed


async def ask(callers: Callers, token: str) -> Caller:
    return await callers.authenticate(scope_of({"Authorization": f"Bearer {token}"}))


async def refused(callers: Callers, token: str) -> str:
    """The code of the 401."""
    with pytest.raises(Unauthenticated) as refusal:
        await ask(callers, token)
    assert status_of(refusal.value) == 401
    assert headers_of(refusal.value)["WWW-Authenticate"]
    return refusal.value.stable_code


async def let_run(times: int = 50) -> None:
    for _ in range(times):
        await asyncio.sleep(0)
