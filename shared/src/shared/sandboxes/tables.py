"""The two tables in which a service keeps what it knows of sandboxes; each service has its own."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable, SetColumnComment, conv

from shared.tables import in_sandbox, of_owner

SANDBOXES = "sandboxes"
ADVANCES = "sandbox_advances"
_WHEN = sa.DateTime(timezone=True)


@dataclass(frozen=True, slots=True)
class SandboxTables:
    """What `define_sandbox_tables` makes."""

    sandboxes: sa.Table
    advances: sa.Table


def define_sandbox_tables(metadata: sa.MetaData) -> SandboxTables:
    """The tables, in the schema of `metadata`. The migration of a service creates them from here."""
    sandboxes = sa.Table(
        SANDBOXES,
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False, server_default=sa.text("1"), comment="Counts its beginnings."),
        sa.Column("begun_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tenant", name="sandboxes_pkey"),
        sa.CheckConstraint("round > 0", name=conv("sandboxes_round_check")),
        info=of_owner() | in_sandbox(stays=True),
    )
    advances = sa.Table(
        ADVANCES,
        metadata,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("moved_from", sa.BigInteger, nullable=False, comment="Milliseconds that the clock was ahead before."),
        sa.Column("moved_to", sa.BigInteger, nullable=False, comment="And after."),
        sa.Column("moved_at", _WHEN, nullable=False, comment="What began later does not end earlier."),
        sa.Column("place", sa.Text, comment="Up to here the rows are moved."),
        sa.Column("done_at", _WHEN, comment="When all of them were."),
        # Each advance begins where another one ended: of two that come at once, the database refuses one.
        sa.PrimaryKeyConstraint("tenant", "round", "moved_from", name="sandbox_advances_pkey"),
        sa.CheckConstraint("moved_from >= 0 AND moved_to > moved_from", name=conv("sandbox_advances_forward_check")),
        info=in_sandbox(stays=True),
    )
    return SandboxTables(sandboxes, advances)


def create_sandbox_tables(op: Any, schema: str) -> None:
    """What a migration's `upgrade` calls, with Alembic's `op`: the first version of the tables."""
    tables = define_sandbox_tables(sa.MetaData(schema=schema))
    for table in (tables.sandboxes, tables.advances):
        op.execute(CreateTable(table))
        for column in table.columns:
            if column.comment is not None:
                op.execute(SetColumnComment(column))


def drop_sandbox_tables(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    op.drop_table(ADVANCES, schema=schema)
    op.drop_table(SANDBOXES, schema=schema)
