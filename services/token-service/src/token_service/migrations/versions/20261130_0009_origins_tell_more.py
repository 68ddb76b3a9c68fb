"""What a key says of its database tells a dump that was restored into the same database, too."""

from alembic import op

revision = "0009"
down_revision = "0008"

_PRESENT = (
    "s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || d.oid"
    " || '/' || 'token_service.keys'::regclass::oid"
)
_FORMER = "s.system_identifier || '/' || c.timeline_id || '/' || d.oid"


def upgrade() -> None:
    _replace(_FORMER, _PRESENT)


def downgrade() -> None:
    _replace(_PRESENT, _FORMER)


def _replace(former: str, present: str) -> None:
    # A key of another database stays one.
    op.execute(
        f"UPDATE token_service.keys SET origin = {present}"  # noqa: S608 — both are above
        " FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d"
        f" WHERE d.datname = current_database() AND origin = {former}"
    )
