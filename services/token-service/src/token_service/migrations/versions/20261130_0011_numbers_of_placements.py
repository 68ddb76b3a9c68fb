"""Numbers of placements come from a sequence: Citus distributes no table with an identity column of 32 bits.

The version before runs on: it names no number either when it writes a placement.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # From here on nobody else writes a placement before this transaction ends. Then a default has taken the identity's
    # place, so no insert of a version before breaks.
    op.execute(
        "-- squawk-ignore ban-alter-identity\nALTER TABLE token_service.placements ALTER COLUMN number DROP IDENTITY"
    )
    op.execute("CREATE SEQUENCE token_service.placements_number_seq AS integer")
    op.execute(
        "SELECT setval('token_service.placements_number_seq', coalesce(max(number), 0) + 1, false)"
        " FROM token_service.placements"
    )
    op.execute(
        "ALTER TABLE token_service.placements"
        " ALTER COLUMN number SET DEFAULT nextval('token_service.placements_number_seq'::regclass)"
    )
    op.execute("ALTER SEQUENCE token_service.placements_number_seq OWNED BY token_service.placements.number")


def downgrade() -> None:
    op.execute("ALTER TABLE token_service.placements ALTER COLUMN number DROP DEFAULT")
    op.execute("DROP SEQUENCE token_service.placements_number_seq")
    op.execute("ALTER TABLE token_service.placements ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY")
    op.execute(
        "SELECT setval(pg_get_serial_sequence('token_service.placements', 'number'), coalesce(max(number), 0) + 1,"
        " false) FROM token_service.placements"
    )
