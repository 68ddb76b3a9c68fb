"""The schema of this service's tables, and columns that many of them share."""

from sqlalchemy import Column, DateTime, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY

SCHEMA = "partner_onboarding"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

WHEN = DateTime(timezone=True)
TEXTS = ARRAY(Text)
NO_TEXTS = text("'{}'::text[]")


def created() -> Column[object]:
    return Column("created_at", WHEN, nullable=False, server_default=func.now())
