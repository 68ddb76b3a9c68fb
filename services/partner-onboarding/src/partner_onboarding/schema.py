"""The schema of this service's tables, and columns that many of them share."""

from shared.tables import NAMES
from sqlalchemy import Column, DateTime, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY

SCHEMA = "partner_onboarding"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention=NAMES,
)

WHEN = DateTime(timezone=True)
TEXTS = ARRAY(Text)
NO_TEXTS = text("'{}'::text[]")


def created() -> Column[object]:
    return Column("created_at", WHEN, nullable=False, server_default=func.now())
