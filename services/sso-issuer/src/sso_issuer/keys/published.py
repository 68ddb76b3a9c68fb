"""Published key sets: read by everybody, changed about once a month."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import NotFound, Unavailable
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer.keys import store

#: The greatest age (seconds) of a key set in memory; far below the spare minute in `PUBLISHED_AHEAD`.
FRESH_SECONDS: Final = 2.0
_REMEMBERED: Final = 1000

#: Reads the public keys of one tenant, or of all.
Read = Callable[[AsyncConnection, str | None], Awaitable[Sequence[Mapping[str, Any]]]]


class TenantNotFound(NotFound):
    code = "tenant_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such tenant authority.")


@dataclass(frozen=True, slots=True)
class KeySetDocument:
    """A JWKS as it is sent."""

    body: bytes
    etag: str


class PublishedKeys:
    """Key sets of one kind, each remembered briefly, and longer while the database does not answer.

    Args:
        read: reads them; by default those of tokens.
    """

    def __init__(
        self, database: Database, read: Read | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._read = read
        self._clock = clock
        self._remembered: Bounded[str | None, tuple[KeySetDocument, float]] = Bounded(_REMEMBERED)
        self._changes = 0

    async def document(self, tenant: str | None) -> KeySetDocument:
        """The key set of one tenant's authority, or of all tenants.

        Raises:
            TenantNotFound: the tenant has no keys, whether or not it exists.
            Unavailable: the database cannot be asked and nothing is remembered.
        """
        found = self._remembered.get(tenant)
        now = self._clock()
        if found is not None and now - found[1] < FRESH_SECONDS:
            return found[0]
        changes = self._changes
        try:
            async with self._database.transaction() as connection:
                jwks = await (self._read or store.read_published)(connection, tenant)
        except Unavailable:
            if found is None:
                raise
            return found[0]
        if tenant is not None and not jwks:
            raise TenantNotFound
        body = orjson.dumps({"keys": jwks})
        document = KeySetDocument(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        # What was read before a change may lack it.
        if changes == self._changes:
            self._remembered.keep(tenant, (document, now))
        return document

    def forget(self, tenant: str) -> None:
        """Forgets a tenant's key set, because its keys changed."""
        self._changes += 1
        self._remembered.pop(tenant)
        self._remembered.pop(None)
