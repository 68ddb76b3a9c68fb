"""Figures of endpoints: how many there are, and which fail for how long."""

from typing import Final

from prometheus_client import Gauge
from sqlalchemy import case, func, select

from shared.db import Database
from shared.events.domain import Topic
from shared.events.tables import EventTables

#: A figure for each endpoint would grow with their number; only those that have failed longest have one.
_NAMED: Final = 50
#: Waiting deliveries are counted up to here.
_COUNTED: Final = 10_000
_endpoints = Gauge("events_endpoints", "Endpoints by state: works, fails, disabled.", ["topic", "state"])
_failing = Gauge(
    "events_endpoint_failing_seconds",
    "How long nothing has succeeded at an endpoint; of the fifty that have failed longest. Disabled after five days.",
    ["topic", "tenant", "endpoint"],
)
_waiting = Gauge(
    "events_endpoint_waiting",
    "Deliveries that wait for such an endpoint, up to ten thousand.",
    ["topic", "tenant", "endpoint"],
)


class EndpointsWatch:
    """Looks at the endpoints of a topic. One a process."""

    def __init__(self, database: Database, tables: EventTables, topic: Topic) -> None:
        self._database = database
        self._tables = tables
        self._topic = topic.name
        self._named: set[tuple[str, str]] = set()

    async def look(self) -> None:
        """Sets the figures."""
        columns, waiting = self._tables.endpoints.c, self._tables.deliveries.c
        state = case(
            (columns.enabled.is_(False), "disabled"), (columns.failing_since.is_not(None), "fails"), else_="works"
        ).label("state")
        some = (
            select(waiting.number)
            .where(
                waiting.tenant == columns.tenant,
                waiting.endpoint_id == columns.endpoint_id,
                waiting.state == "waiting",
            )
            .limit(_COUNTED)
            .correlate(self._tables.endpoints)
            .subquery()
        )
        failing = (
            select(
                columns.tenant,
                columns.endpoint_id,
                func.extract("epoch", func.now() - columns.failing_since).label("seconds"),
                select(func.count()).select_from(some).scalar_subquery().label("waiting"),
            )
            .where(columns.enabled, columns.failing_since.is_not(None))
            .order_by(columns.failing_since)
            .limit(_NAMED)
        )
        async with self._database.transaction() as connection:
            counts = await connection.execute(select(state, func.count().label("endpoints")).group_by(state))
            present = {row.state: row.endpoints for row in counts}
            worst = list(await connection.execute(failing))
        for name in ("works", "fails", "disabled"):
            _endpoints.labels(self._topic, name).set(present.get(name, 0))
        for row in worst:
            _failing.labels(self._topic, row.tenant, row.endpoint_id).set(float(row.seconds))
            _waiting.labels(self._topic, row.tenant, row.endpoint_id).set(row.waiting)
        named = {(row.tenant, row.endpoint_id) for row in worst}
        for tenant, endpoint_id in self._named - named:
            _failing.remove(self._topic, tenant, endpoint_id)
            _waiting.remove(self._topic, tenant, endpoint_id)
        self._named = named
