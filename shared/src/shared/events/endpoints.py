"""Endpoints: a client's addresses for events, and the secrets that sign them.

Of a client's two secrets the newer one has no end. The older one signs too until its overlap ends.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.events import outbox
from shared.events.destinations import Destinations
from shared.events.domain import (
    MOST_ENDPOINTS,
    Endpoint,
    EndpointNotFound,
    NewEvent,
    Reader,
    TooManyEndpoints,
    Topic,
)
from shared.events.feed import last_number
from shared.events.tables import EventTables, context_of_secrets
from shared.idempotency import Answer, Answers, RequestKey
from shared.sealing import Sealer
from shared.times import iso

BY_THE_CLIENT: Final = "disabled_by_client"
BY_AN_OPERATOR: Final = "disabled_by_operator"
GONE: Final = "receiver_gone"
FAILING: Final = "failing_for_five_days"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of a PATCH; None leaves a part unchanged."""

    url: str | None = None
    types: Sequence[str] | None = None
    description: str | None = None
    enabled: bool | None = None


class Endpoints:
    """The endpoints of a topic. One a process."""

    def __init__(
        self,
        database: Database,
        tables: EventTables,
        topic: Topic,
        destinations: Destinations,
        sealer: Sealer,
        answers: Answers,
    ) -> None:
        self._database = database
        self._tables = tables
        self._topic = topic
        self._destinations = destinations
        self._sealer = sealer
        self._answers = answers

    async def add(
        self, reader: Reader, key: RequestKey | None, *, url: str, types: Sequence[str], description: str
    ) -> Answer:
        """A new endpoint with its secret. It gets events from now on.

        Raises:
            MalformedUrl, PrivateAddress, UnknownEventType
            TooManyEndpoints: the client has as many as it may have.
        """
        kept = await self._answers.recall(reader.tenant, reader.client_id, key)
        if kept is not None:
            return kept
        checked = self._topic.check_types(types)
        await self._destinations.check(url)

        async def act(connection: AsyncConnection) -> Answer:
            endpoints = self._tables.endpoints
            present = await connection.execute(
                select(func.count()).where(
                    endpoints.c.tenant == reader.tenant, endpoints.c.client_id == reader.client_id
                )
            )
            if present.scalar_one() >= MOST_ENDPOINTS:
                raise TooManyEndpoints(f"A client has at most {MOST_ENDPOINTS} endpoints. Delete one first.")
            endpoint_id, secret = f"ep_{secrets.token_hex(10)}", _new_secret()
            await connection.execute(
                insert(endpoints).values(
                    tenant=reader.tenant,
                    endpoint_id=endpoint_id,
                    client_id=reader.client_id,
                    owner=reader.owner,
                    url=url,
                    types=list(checked),
                    description=description,
                    secrets=self._seal(reader.tenant, endpoint_id, [(secret, None)]),
                    position=await last_number(connection, self._tables, reader.tenant),
                )
            )
            endpoint = await self._find(connection, reader, endpoint_id)
            return Answer.of(201, body_of(endpoint, self._topic) | {"secret": secret}, Cache_Control="no-store")

        return await self._answers.once(reader.tenant, reader.client_id, key, act)

    async def all_of(self, reader: Reader) -> list[Endpoint]:
        """The client's endpoints, oldest first. There are at most `MOST_ENDPOINTS`."""
        endpoints = self._tables.endpoints
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(endpoints)
                .where(endpoints.c.tenant == reader.tenant, endpoints.c.client_id == reader.client_id)
                .order_by(endpoints.c.created_at, endpoints.c.endpoint_id)
            )
            return [endpoint_of(row) for row in rows]

    async def every(self, tenant: str | None = None) -> list[Endpoint]:
        """The endpoints of all clients, of one tenant or of all, for operators; oldest first."""
        endpoints = self._tables.endpoints
        query = select(endpoints) if tenant is None else select(endpoints).where(endpoints.c.tenant == tenant)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(endpoints.c.created_at, endpoints.c.endpoint_id))
            return [endpoint_of(row) for row in rows]

    async def reader_of(self, endpoint_id: str) -> Reader:
        """The client whose endpoint this is, for operators.

        Raises:
            EndpointNotFound
        """
        endpoints = self._tables.endpoints
        async with self._database.transaction() as connection:
            rows = await connection.execute(select(endpoints).where(endpoints.c.endpoint_id == endpoint_id))
            row = rows.one_or_none()
        if row is None:
            raise EndpointNotFound("There is no such endpoint.")
        return endpoint_of(row).reader

    async def disable(self, reader: Reader, endpoint_id: str) -> Endpoint:
        """An operator disables the endpoint; its client's other endpoints hear of it. The client may enable it again.

        Raises:
            EndpointNotFound
        """
        async with self._database.transaction() as connection:
            endpoint = await self._find(connection, reader, endpoint_id, lock=True)
            await disable(connection, self._tables, endpoint, BY_AN_OPERATOR)
            return await self._find(connection, reader, endpoint_id)

    async def get(self, reader: Reader, endpoint_id: str) -> Endpoint:
        """Raises EndpointNotFound, also for another client's."""
        async with self._database.transaction() as connection:
            return await self._find(connection, reader, endpoint_id)

    async def change(self, reader: Reader, endpoint_id: str, change: Change) -> Endpoint:
        """The changed endpoint. If it is enabled again, it gets events from now on.

        Raises:
            EndpointNotFound, MalformedUrl, PrivateAddress, UnknownEventType
        """
        values: dict[str, Any] = {}
        if change.url is not None:
            values["url"] = await self._destinations.check(change.url)
            # The new address has not failed yet.
            values["failing_since"] = None
        if change.types is not None:
            values["types"] = list(self._topic.check_types(change.types))
        if change.description is not None:
            values["description"] = change.description
        async with self._database.transaction() as connection:
            present = await self._find(connection, reader, endpoint_id, lock=True)
            if change.enabled is False and present.enabled:
                values |= {"enabled": False, "disabled_because": BY_THE_CLIENT}
            elif change.enabled is True and not present.enabled:
                values |= {
                    "enabled": True,
                    "disabled_because": None,
                    "failing_since": None,
                    "position": await last_number(connection, self._tables, reader.tenant),
                }
            if values:
                await connection.execute(
                    update(self._tables.endpoints).where(*self._is(reader, endpoint_id)).values(values)
                )
            return await self._find(connection, reader, endpoint_id)

    async def remove(self, reader: Reader, endpoint_id: str) -> None:
        """With its deliveries. Raises EndpointNotFound."""
        async with self._database.transaction() as connection:
            result = await connection.execute(delete(self._tables.endpoints).where(*self._is(reader, endpoint_id)))
            if not result.rowcount:
                raise EndpointNotFound("You have no such endpoint.")

    async def rotate_secret(
        self, reader: Reader, endpoint_id: str, key: RequestKey | None, *, overlap: timedelta
    ) -> Answer:
        """A new secret. The present one signs too until `overlap` is over; one before it ends at once.

        Raises:
            EndpointNotFound
        """

        async def act(connection: AsyncConnection) -> Answer:
            endpoint = await self._find(connection, reader, endpoint_id, lock=True)
            now = await _now(connection)
            present = await self.secrets_of(connection, endpoint, now)
            secret, ends = _new_secret(), now + overlap
            kept = [(secret, None), *([(present[0], ends)] if overlap else [])]
            await connection.execute(
                update(self._tables.endpoints)
                .where(*self._is(reader, endpoint_id))
                .values(secrets=self._seal(reader.tenant, endpoint_id, kept))
            )
            return Answer.of(
                201,
                {"endpoint_id": endpoint_id, "secret": secret, "former_secret_expires_at": iso(ends)},
                Cache_Control="no-store",
            )

        return await self._answers.once(reader.tenant, reader.client_id, key, act)

    async def secrets_of(self, connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> list[str]:
        """The secrets that sign at this instant, the newest first."""
        endpoints = self._tables.endpoints
        sealed: bytes = (
            await connection.execute(
                select(endpoints.c.secrets).where(
                    endpoints.c.tenant == endpoint.tenant, endpoints.c.endpoint_id == endpoint.endpoint_id
                )
            )
        ).scalar_one()
        kept = orjson.loads(self._sealer.open(sealed, context_of_secrets(endpoint.tenant, endpoint.endpoint_id)))
        return [one["secret"] for one in kept if one["until"] is None or datetime.fromisoformat(one["until"]) > now]

    def _seal(self, tenant: str, endpoint_id: str, kept: Sequence[tuple[str, datetime | None]]) -> bytes:
        plain = [{"secret": secret, "until": None if until is None else until.isoformat()} for secret, until in kept]
        return self._sealer.seal(orjson.dumps(plain), context_of_secrets(tenant, endpoint_id))

    async def _find(
        self, connection: AsyncConnection, reader: Reader, endpoint_id: str, *, lock: bool = False
    ) -> Endpoint:
        query = select(self._tables.endpoints).where(*self._is(reader, endpoint_id))
        row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
        if row is None:
            raise EndpointNotFound("You have no such endpoint.")
        return endpoint_of(row)

    def _is(self, reader: Reader, endpoint_id: str) -> tuple[ColumnElement[bool], ...]:
        columns = self._tables.endpoints.c
        return (
            columns.tenant == reader.tenant,
            columns.endpoint_id == endpoint_id,
            columns.client_id == reader.client_id,
        )


def body_of(endpoint: Endpoint, topic: Topic) -> dict[str, Any]:
    """An endpoint as its client sees it."""
    return {
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "types": list(endpoint.types or topic.types),
        "description": endpoint.description,
        "state": "enabled" if endpoint.enabled else "disabled",
        "disabled_because": endpoint.disabled_because,
        "created_at": iso(endpoint.created_at),
    }


def endpoint_of(row: Row[Any]) -> Endpoint:
    """An endpoint out of its row."""
    return Endpoint(
        tenant=row.tenant,
        endpoint_id=row.endpoint_id,
        client_id=row.client_id,
        owner=row.owner,
        url=row.url,
        types=tuple(row.types),
        description=row.description,
        enabled=row.enabled,
        disabled_because=row.disabled_because,
        position=row.position,
        failing_since=row.failing_since,
        created_at=row.created_at,
    )


async def locked(connection: AsyncConnection, tables: EventTables, tenant: str, endpoint_id: str) -> Endpoint | None:
    """The endpoint, locked until the end of the transaction; None when it was removed."""
    columns = tables.endpoints.c
    query = select(tables.endpoints).where(columns.tenant == tenant, columns.endpoint_id == endpoint_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else endpoint_of(row)


async def change(connection: AsyncConnection, tables: EventTables, endpoint: Endpoint, **values: object) -> None:
    """Writes columns of the endpoint's row."""
    columns = tables.endpoints.c
    await connection.execute(
        update(tables.endpoints)
        .where(columns.tenant == endpoint.tenant, columns.endpoint_id == endpoint.endpoint_id)
        .values(values)
    )


async def disable(connection: AsyncConnection, tables: EventTables, endpoint: Endpoint, reason: str) -> bool:
    """Disables an endpoint that is locked, and tells its client of it by an event. False: it was disabled already."""
    if not endpoint.enabled:
        return False
    await change(connection, tables, endpoint, enabled=False, disabled_because=reason)
    told = NewEvent(
        "endpoint.disabled",
        {"endpoint_id": endpoint.endpoint_id, "url": endpoint.url, "disabled_because": reason},
        endpoint.owner,
    )
    await outbox.record(connection, tables, endpoint.tenant, [told])
    return True


async def _now(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
