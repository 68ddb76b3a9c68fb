"""The five tables in which a service keeps its events; each service has its own."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import conv

_WHEN = sa.DateTime(timezone=True)


@dataclass(frozen=True, slots=True)
class EventTables:
    """What `define_event_tables` makes."""

    outbox: sa.Table
    positions: sa.Table
    events: sa.Table
    endpoints: sa.Table
    deliveries: sa.Table

    def all(self) -> tuple[sa.Table, ...]:
        return (self.outbox, self.positions, self.events, self.endpoints, self.deliveries)


def define_event_tables(metadata: sa.MetaData) -> EventTables:
    """The tables, in the schema of `metadata`. The migration of a service creates them from here."""
    outbox = sa.Table(
        "event_outbox",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("batch", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("recorded_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("events", JSONB, nullable=False, comment="A list; one row for all that a transaction records."),
        sa.PrimaryKeyConstraint("tenant", "batch", name="event_outbox_pkey"),
    )
    positions = sa.Table(
        "event_positions",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("tenant", name="event_positions_pkey"),
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
    endpoints = sa.Table(
        "event_endpoints",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False, comment="Who made it, and alone may see it."),
        sa.Column("owner", sa.Text, comment="Whose events are sent; none: all of the tenant."),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("types", ARRAY(sa.Text), nullable=False, comment="Empty: all."),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("secrets", sa.LargeBinary, nullable=False, comment="Sealed: the secrets that sign, with their ends."),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("disabled_because", sa.Text),
        sa.Column("position", sa.BigInteger, nullable=False, comment="Up to here events have become deliveries."),
        sa.Column("failing_since", _WHEN, comment="Since when every attempt has failed."),
        sa.Column("created_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tenant", "endpoint_id", name="event_endpoints_pkey"),
        sa.CheckConstraint("enabled = (disabled_because IS NULL)", name=conv("event_endpoints_disabled_because_check")),
        sa.Index("event_endpoints_by_client", "tenant", "client_id", "created_at"),
    )
    deliveries = sa.Table(
        "event_deliveries",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'waiting'")),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("status", sa.Integer, comment="Of the last attempt; none when there was no answer."),
        sa.Column("error", sa.Text, comment="Why there was none."),
        sa.Column("attempted_at", _WHEN),
        sa.Column("next_attempt_at", _WHEN, comment="While it waits."),
        sa.PrimaryKeyConstraint("tenant", "endpoint_id", "number", name="event_deliveries_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint_id"],
            [endpoints.c.tenant, endpoints.c.endpoint_id],
            ondelete="CASCADE",
            name="event_deliveries_endpoint_fkey",
        ),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=conv("event_deliveries_state_check")),
        sa.CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)", name=conv("event_deliveries_next_attempt_at_check")
        ),
        sa.Index("event_deliveries_due", "next_attempt_at", postgresql_where=sa.text("state = 'waiting'")),
    )
    return EventTables(outbox, positions, events, endpoints, deliveries)
