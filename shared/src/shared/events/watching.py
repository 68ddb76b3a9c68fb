"""Figures of endpoints: how many there are, and which fail for how long."""

from typing import Final

from prometheus_client import Gauge
from sqlalchemy import Text, bindparam, case, func, select

from shared.db import Database
from shared.events.domain import Topic
from shared.events.tables import EventTables
from shared.readings import Reading

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
        columns = tables.deliveries.c
        some = (
            select(columns.number)
            .where(
                columns.tenant == bindparam("tenant", type_=Text),
                columns.endpoint_id == bindparam("endpoint_id", type_=Text),
                columns.state == "waiting",
            )
            .limit(_COUNTED)
            .subquery()
        )
        self._waiting = Reading(select(func.count().label("waiting")).select_from(some))

    async def look(self) -> None:
        """Sets the figures."""
        columns = self._tables.endpoints.c
        state = case(
            (columns.enabled.is_(False), "disabled"), (columns.failing_since.is_not(None), "fails"), else_="works"
        ).label("state")
        failing = (
            select(
                columns.tenant,
                columns.endpoint_id,
                func.extract("epoch", func.now() - columns.failing_since).label("seconds"),
            )
            .where(columns.enabled, columns.failing_since.is_not(None))
            .order_by(columns.failing_since)
            .limit(_NAMED)
        )
        async with self._database.transaction() as connection:
            counts = await connection.execute(select(state, func.count().label("endpoints")).group_by(state))
            present = {row.state: row.endpoints for row in counts}
            worst = list(await connection.execute(failing))
        # By a statement for each: they may lie on several servers, of which each counts up to the limit.
        counted = [
            (await self._database.read(self._waiting, tenant=row.tenant, endpoint_id=row.endpoint_id))[0].waiting
            for row in worst
        ]
        for name in ("works", "fails", "disabled"):
            _endpoints.labels(self._topic, name).set(present.get(name, 0))
        for row, waiting in zip(worst, counted, strict=True):
            _failing.labels(self._topic, row.tenant, row.endpoint_id).set(float(row.seconds))
            _waiting.labels(self._topic, row.tenant, row.endpoint_id).set(waiting)
        named = {(row.tenant, row.endpoint_id) for row in worst}
        for tenant, endpoint_id in self._named - named:
            _failing.remove(self._topic, tenant, endpoint_id)
            _waiting.remove(self._topic, tenant, endpoint_id)
        self._named = named
