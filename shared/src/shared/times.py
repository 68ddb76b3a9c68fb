"""Times on the wire: ISO 8601, UTC, milliseconds and `Z`."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, PlainSerializer


def iso(moment: datetime) -> str:
    """`2026-11-21T08:15:30.123Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


Timestamp = Annotated[AwareDatetime, PlainSerializer(iso, return_type=str, when_used="json")]
