"""Every statement about integration requests."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.third_parties.integrations.domain import State
from partner_onboarding.third_parties.tables import integration_requests


@dataclass(frozen=True, slots=True)
class SealedRequest:
    """A stored request. Without the keys it does not reveal who asks."""

    tenant: str
    request_id: str
    particulars: bytes
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    state: State
    submitted_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: bytes | None
    client_id: str | None


#: The place after which a page begins, newest first.
Place = tuple[datetime, str]


async def now(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return moment


async def add(
    connection: AsyncConnection,
    tenant: str,
    request_id: str,
    particulars: bytes,
    scopes: tuple[str, ...],
    redirect_uris: tuple[str, ...],
) -> datetime:
    """Adds a request; returns the time of submission."""
    statement = insert(integration_requests).values(
        tenant=tenant,
        request_id=request_id,
        particulars=particulars,
        scopes=list(scopes),
        redirect_uris=list(redirect_uris),
    )
    submitted_at: datetime = (
        await connection.execute(statement.returning(integration_requests.c.submitted_at))
    ).scalar_one()
    return submitted_at


async def find(
    connection: AsyncConnection, tenant: str, request_id: str, *, lock: bool = False
) -> SealedRequest | None:
    """A request; `lock` keeps others from deciding on it until the transaction ends."""
    query = select(integration_requests).where(*_is(tenant, request_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return _request(row) if row is not None else None


async def newest(
    connection: AsyncConnection, tenant: str, state: State | None, after: Place | None, limit: int
) -> list[SealedRequest]:
    """Newest first, of one state or of all."""
    columns = integration_requests.c
    query = select(integration_requests).where(columns.tenant == tenant)
    if state is not None:
        query = query.where(columns.state == state)
    if after is not None:
        query = query.where(tuple_(columns.submitted_at, columns.request_id) < tuple_(*after))
    rows = await connection.execute(query.order_by(columns.submitted_at.desc(), columns.request_id.desc()).limit(limit))
    return [_request(row) for row in rows]


async def count_by_state(connection: AsyncConnection, tenant: str) -> dict[str, int]:
    columns = integration_requests.c
    rows = await connection.execute(
        select(columns.state, func.count().label("number")).where(columns.tenant == tenant).group_by(columns.state)
    )
    return {row.state: row.number for row in rows}


async def decide(
    connection: AsyncConnection,
    tenant: str,
    request_id: str,
    *,
    state: State,
    by: str,
    client_id: str | None = None,
    reason: bytes | None = None,
) -> SealedRequest:
    statement = (
        update(integration_requests)
        .where(*_is(tenant, request_id))
        .values(state=state, decided_at=func.now(), decided_by=by, client_id=client_id, reason=reason)
        .returning(integration_requests)
    )
    return _request((await connection.execute(statement)).one())


def _is(tenant: str, request_id: str) -> tuple[Any, Any]:
    return integration_requests.c.tenant == tenant, integration_requests.c.request_id == request_id


def _request(row: Row[Any]) -> SealedRequest:
    return SealedRequest(
        tenant=row.tenant,
        request_id=row.request_id,
        particulars=row.particulars,
        scopes=tuple(row.scopes),
        redirect_uris=tuple(row.redirect_uris),
        state=row.state,
        submitted_at=row.submitted_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
        client_id=row.client_id,
    )
