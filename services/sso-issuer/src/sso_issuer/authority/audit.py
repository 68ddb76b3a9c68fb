"""The audit of the authorities, written before the answer, many rows at once, each with the rows that depend on it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.db import Database, driver_of
from shared.group_commit import GroupCommit

from sso_issuer.authority import store
from sso_issuer.authority.domain import Event, EventKind, InvalidGrant
from sso_issuer.authority.store import Revocation, TakenCode


class CodeSpent(InvalidGrant):
    """The code gave a token before, or was replayed before it could."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event, and the rows that are written with it in one transaction."""

    event: Event
    code: TakenCode | None = None
    revocation: Revocation | None = None


class Audit:
    """Appends to the audit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._line = GroupCommit[Entry, None](
            self.write,
            name="authority_events",
            tenant_of=lambda entry: entry.event.tenant,
            is_of_one_tenant=database.is_distributed,
        )

    async def append(self, entry: Entry) -> None:
        """Waits until `entry` is durable.

        Raises:
            CodeSpent: the code of an issuance is spent; the refusal is written instead.
            Unavailable: nothing was written.
        """
        await self._line.submit(entry)

    async def spoil_code(self, tenant: str, code_digest: bytes, *, client_id: str, request_id: str) -> None:
        """Handles a replayed code: revokes the token that it gave, and keeps it from giving one.

        Raises:
            Unavailable: nothing was written.
        """
        async with self._database.transaction() as connection:
            revocation = await store.spoil_code(connection, tenant, code_digest)
            if revocation is None:
                return
            issued = await store.find_issued(connection, tenant, revocation.jti)
            event = event_of(
                EventKind.REVOKED,
                tenant,
                request_id,
                reason="code_replayed",
                client_id=client_id,
                jti=revocation.jti,
                subject=None if issued is None else issued.subject,
                token_client_id=None if issued is None else issued.client_id,
            )
            driver = await driver_of(connection)
            await store.append_events(driver, [event], [revocation])

    async def close(self) -> None:
        """Writes all waiting entries."""
        await self._line.close()

    async def write(self, entries: Sequence[Entry]) -> Sequence[CodeSpent | None]:
        """Writes entries at once; returns a refusal for each whose code is spent. Driver errors pass unchanged."""
        codes = [entry.code for entry in entries if entry.code is not None]
        revocations = [entry.revocation for entry in entries if entry.revocation is not None]
        if not codes:
            async with self._database.raw_write() as connection:
                await store.append_events(connection, [entry.event for entry in entries], revocations)
            return [None] * len(entries)
        async with self._database.raw_transaction() as connection:
            taken = await store.take_codes(connection, codes)
            is_spent = [
                entry.code is not None and (entry.code.tenant, entry.code.jti) not in taken for entry in entries
            ]
            events = [
                _refused(entry.event) if spent else entry.event for entry, spent in zip(entries, is_spent, strict=True)
            ]
            await store.append_events(connection, events, revocations)
        return [CodeSpent(log="the code gave a token before") if spent else None for spent in is_spent]


def event_of(kind: EventKind, tenant: str, request_id: str, **known: Any) -> Event:
    """An event with a fresh id."""
    return Event(tenant=tenant, event_id=secrets.token_urlsafe(16), event=kind, request_id=request_id, **known)


def _refused(issuance: Event) -> Event:
    """The refusal that is written instead of an issuance."""
    return replace(issuance, event=EventKind.REFUSED, reason=InvalidGrant.code, jti=None, kid=None, expires_at=None)
