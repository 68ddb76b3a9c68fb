"""The four tables in which a service keeps its events; each service has its own."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.schema import conv

from shared.tables import in_sandbox, sealed_as

_WHEN = sa.DateTime(timezone=True)
#: Of `event_batches`, for its partial indexes.
IS_WAITING: Final = "last_number IS NULL"
IS_NUMBERED: Final = "last_number IS NOT NULL"


@dataclass(frozen=True, slots=True)
class EventTables:
    """What `define_event_tables` makes."""

    batches: sa.Table
    positions: sa.Table
    endpoints: sa.Table
    deliveries: sa.Table

    def all(self) -> tuple[sa.Table, ...]:
        return (self.batches, self.positions, self.endpoints, self.deliveries)


def define_event_tables(metadata: sa.MetaData) -> EventTables:
    """The tables, in the schema of `metadata`. The migrations of a service make them: see `migration`."""
    batches = sa.Table(
        "event_batches",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="Random; the ids of the row's events begin with it."),
        sa.Column("batch", sa.BigInteger, sa.Identity(always=True), nullable=False, comment="The order of recording."),
        sa.Column("owner", sa.Text, comment="Vendor, partner or client whose events they are; none: the platform's."),
        sa.Column("size", sa.Integer, nullable=False, comment="How many events the row holds."),
        sa.Column("recorded_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("last_number", sa.BigInteger, comment="Of its last event; none until the sequencer has been there."),
        # Text, since the server takes half as long to write it as to check JSON.
        sa.Column("events", sa.Text, nullable=False, comment="JSON: a list of {type, at, data}."),
        sa.PrimaryKeyConstraint("tenant", "key", name="event_batches_pkey"),
        sa.CheckConstraint("size > 0", name=conv("event_batches_size_check")),
        # Each index is written once: some when the row is recorded, the others when it is numbered.
        sa.Index("event_batches_waiting", "tenant", "batch", postgresql_where=sa.text(IS_WAITING)),
        sa.Index(
            "event_batches_by_number", "tenant", "last_number", unique=True, postgresql_where=sa.text(IS_NUMBERED)
        ),
        sa.Index("event_batches_by_owner", "tenant", "owner", "last_number", postgresql_where=sa.text(IS_NUMBERED)),
        sa.Index("event_batches_by_age", "recorded_at", postgresql_using="brin"),
    )
    positions = sa.Table(
        "event_positions",
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("tenant", name="event_positions_pkey"),
        # So that who follows a sandbox's events finds those of its next round.
        info=in_sandbox(stays=True),
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
        sa.Column(
            "secrets",
            sa.LargeBinary,
            nullable=False,
            comment="Sealed: the secrets that sign, with their ends.",
            info=sealed_as(lambda row: context_of_secrets(row["tenant"], row["endpoint_id"])),
        ),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("disabled_because", sa.Text),
        sa.Column("position", sa.BigInteger, nullable=False, comment="Up to here events have become deliveries."),
        sa.Column("failing_since", _WHEN, comment="Since when every attempt has failed."),
        sa.Column("created_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tenant", "endpoint_id", name="event_endpoints_pkey"),
        sa.CheckConstraint("enabled = (disabled_because IS NULL)", name=conv("event_endpoints_disabled_because_check")),
        sa.Index("event_endpoints_by_client", "tenant", "client_id", "created_at"),
        info=in_sandbox(stays=True),
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
        sa.Index(
            "event_deliveries_waiting",
            *("tenant", "endpoint_id", "next_attempt_at", "number"),
            postgresql_where=sa.text("state = 'waiting'"),
        ),
    )
    return EventTables(batches, positions, endpoints, deliveries)


def context_of_secrets(tenant: str, endpoint_id: str) -> str:
    """Under which context an endpoint's secrets are sealed."""
    return f"event endpoint/{tenant}/{endpoint_id}"
