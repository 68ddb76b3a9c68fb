"""Events stay in the row that they were recorded in; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import pack_events, unpack_events

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pack_events(op, "token_service")


def downgrade() -> None:
    unpack_events(op, "token_service")
