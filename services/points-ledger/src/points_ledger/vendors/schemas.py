"""Bodies about a vendor."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class HoldTimeBody(BaseModel):
    """How long a vendor's holds last: 1 s to 7 days."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"hold_seconds": 900}]})

    hold_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]


class VendorBody(BaseModel):
    """A vendor, as the ledger knows it."""

    vendor_id: str
    hold_seconds: Annotated[int, Field(description="Its own, or the default.")]
    known: Annotated[
        bool | None,
        Field(description="Whether the issuer has this vendor: false may be a slip of the pen. Null: not to be asked."),
    ]
