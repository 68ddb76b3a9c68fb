"""This service's environment; every name begins with `ISSUER_`."""

from datetime import timedelta

from pydantic import Field, SecretStr, field_validator
from shared.rate_limits import CountsUrl
from shared.sealing import parse_key_encryption_keys
from shared.settings import InternalUrl, ServiceSettings, settings_config

from sso_issuer.authority.domain import LONGEST_ACCESS_TOKEN_SECONDS
from sso_issuer.keys.domain import PUBLISHED_AHEAD


class Settings(ServiceSettings):
    """What sso-issuer reads beside the settings that all services have."""

    model_config = settings_config("ISSUER_")

    port: int = Field(8002, ge=1, le=65535)
    ledger_url: InternalUrl = Field(..., description="points-ledger's internal address.")
    onboarding_url: InternalUrl = Field(..., description="partner-onboarding's internal address.")
    key_encryption_keys: SecretStr = Field(
        ..., description="`1:<base64 of 32 bytes>[,2:…]`; the highest number encrypts, all decrypt."
    )
    rotate_after: timedelta = Field(
        timedelta(days=30), description="How long a key signs before its successor takes over, ISO 8601 (`P30D`)."
    )
    access_token_seconds: int = Field(
        LONGEST_ACCESS_TOKEN_SECONDS,
        ge=60,
        le=LONGEST_ACCESS_TOKEN_SECONDS,
        description="How long an access token lives.",
    )
    longest_assertion_seconds: int = Field(
        3600, ge=60, le=3600, description="How long the assertion may live with which a client proves itself."
    )
    refused_requests_per_address: int = Field(
        120, ge=1, description="Of the authorities, without a good client's proof, within a minute, before 429."
    )
    refused_codes_per_client: int = Field(30, ge=1, description="Within a minute, before 429.")
    rate_limit_url: CountsUrl = Field(
        SecretStr("memory://"), description="Where refusals are counted: memory://, redis://… or valkey://…"
    )
    upkeep_seconds: float = Field(30, gt=0, le=3600, description="How often it is seen whether a key's time has come.")
    neighbour_timeout_seconds: float = Field(2, gt=0, le=30, description="How long ledger and directory may take.")

    @field_validator("key_encryption_keys")
    @classmethod
    def _can_be_read(cls, value: SecretStr) -> SecretStr:
        parse_key_encryption_keys(value.get_secret_value())
        return value

    @field_validator("rotate_after")
    @classmethod
    def _longer_than_publishing(cls, value: timedelta) -> timedelta:
        if value < 2 * PUBLISHED_AHEAD:
            raise ValueError(f"must be at least {2 * PUBLISHED_AHEAD}: a successor is published before it signs")
        return value
