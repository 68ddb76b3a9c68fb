"""The tables of events in a service's schema, for the migrations of each service.

`create_event_tables` makes the first version; `pack_events` and `index_deliveries` lead to the present one, which
`tables` describes. A later change needs a function here and a migration in each service.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.events.tables import EventTables, define_event_tables
from shared.migrating import create_tables

_WHEN = sa.DateTime(timezone=True)


def create_event_tables(op: Any, schema: str) -> None:
    """What a migration's `upgrade` calls, with Alembic's `op`."""
    tables = _present(schema)
    outbox, events = _first(schema)
    create_tables(op, (outbox, tables.positions, events, tables.endpoints, tables.deliveries))


def drop_event_tables(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    tables = _present(schema)
    outbox, events = _first(schema)
    for table in (tables.deliveries, tables.endpoints, events, tables.positions, outbox):
        op.drop_table(table.name, schema=schema)


def pack_events(op: Any, schema: str) -> None:
    """One row for all events of a transaction, which stay where they were recorded: `event_batches`.

    Events and outbox of the first version move there, one a row, with their ids and numbers.
    """
    create_tables(op, [_present(schema).batches])
    op.execute(f"""
INSERT INTO {schema}.event_batches (tenant, key, owner, size, recorded_at, last_number, events)
SELECT tenant, substr(event_id, 5), owner, 1, recorded_at, number,
       json_build_array(json_build_object('type', type, 'at', happened_at, 'data', data))::text
  FROM {schema}.events
 ORDER BY tenant, number
""")  # noqa: S608 — our own name
    op.execute(f"""
INSERT INTO {schema}.event_batches (tenant, key, owner, size, recorded_at, events)
SELECT tenant, substr(event ->> 'id', 5), event ->> 'owner', 1, recorded_at, json_build_array(event)::text
  FROM {schema}.event_outbox, jsonb_array_elements(events) WITH ORDINALITY AS told (event, place)
 ORDER BY tenant, batch, place
""")  # noqa: S608 — our own name
    for table in _first(schema):
        op.drop_table(table.name, schema=schema)


def unpack_events(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    create_tables(op, _first(schema))
    op.execute(f"""
INSERT INTO {schema}.events (tenant, number, event_id, type, owner, happened_at, recorded_at, data)
SELECT tenant, last_number - size + place, 'evt_' || key || CASE place WHEN 1 THEN '' ELSE '_' || (place - 1) END,
       event ->> 'type', owner, (event ->> 'at')::timestamptz, recorded_at, (event -> 'data')::jsonb
  FROM {schema}.event_batches, json_array_elements(events::json) WITH ORDINALITY AS told (event, place)
 WHERE last_number IS NOT NULL
""")  # noqa: S608 — our own name
    op.execute(f"""
INSERT INTO {schema}.event_outbox (tenant, recorded_at, events)
SELECT tenant, recorded_at, (
         SELECT jsonb_agg(event::jsonb || jsonb_build_object(
                  'id', 'evt_' || key || CASE place WHEN 1 THEN '' ELSE '_' || (place - 1) END, 'owner', owner)
                  ORDER BY place)
           FROM json_array_elements(events::json) WITH ORDINALITY AS told (event, place))
  FROM {schema}.event_batches
 WHERE last_number IS NULL
 ORDER BY tenant, batch
""")  # noqa: S608 — our own name
    op.drop_table("event_batches", schema=schema)


def index_deliveries(op: Any, schema: str) -> None:
    """The index of waiting deliveries leads with the endpoint: what waits for one is not read to find another's."""
    # A schema that is made today has it from the beginning.
    op.create_index(
        "event_deliveries_waiting",
        "event_deliveries",
        ["tenant", "endpoint_id", "next_attempt_at", "number"],
        schema=schema,
        postgresql_where=sa.text("state = 'waiting'"),
        if_not_exists=True,
    )
    op.drop_index("event_deliveries_due", "event_deliveries", schema=schema, if_exists=True)


def unindex_deliveries(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    op.create_index(
        "event_deliveries_due",
        "event_deliveries",
        ["next_attempt_at"],
        schema=schema,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_index("event_deliveries_waiting", "event_deliveries", schema=schema)


def _present(schema: str) -> EventTables:
    return define_event_tables(sa.MetaData(schema=schema))


def _first(schema: str) -> tuple[sa.Table, sa.Table]:
    """Outbox and events of the first version. The other tables have not changed since."""
    metadata = sa.MetaData(schema=schema)
    outbox = sa.Table(
        "event_outbox",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("batch", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("recorded_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("events", JSONB, nullable=False, comment="A list; one row for all that a transaction records."),
        sa.PrimaryKeyConstraint("tenant", "batch", name="event_outbox_pkey"),
    )
    events = sa.Table(
        "events",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, comment="Without gaps, given under a lock of the tenant."),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, comment="Vendor, partner or client whose event it is; none: the platform's."),
        sa.Column("happened_at", _WHEN, nullable=False),
        sa.Column("recorded_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("data", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "number", name="events_pkey"),
        sa.UniqueConstraint("tenant", "event_id", name="events_event_id_key"),
        sa.Index("events_by_owner", "tenant", "owner", "number"),
        sa.Index("events_by_age", "recorded_at"),
    )
    return outbox, events
