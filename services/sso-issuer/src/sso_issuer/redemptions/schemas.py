"""Redemptions over the wire."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from shared.jwt import MAX_TOKEN_CHARACTERS

TOKEN_EXAMPLE: Final[dict[str, Any]] = {"token": "eyJhbGciOi…"}


class TokenBody(BaseModel):
    """A token as the vendor received it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [TOKEN_EXAMPLE]})

    token: str = Field(strict=True, min_length=1, max_length=MAX_TOKEN_CHARACTERS)


class RedeemedBody(BaseModel):
    """The token's claims in the vendor's spelling, and the present points."""

    model_config = ConfigDict(extra="allow")

    points_now: int = Field(description="Available points at this moment.")
    points: int = Field(description="Available points when the token was issued.")
    email: str
    email_verified: bool = Field(description="True: there are no tokens with an address that is not confirmed.")
    iss: str
    aud: str
    jti: str
    iat: int
    exp: int
