"""The settings of sso-issuer: `ISSUER_…` in the environment."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from shared.sealing import parse_key_encryption_keys
from shared.settings import PORT_MEANING, DatabaseSettings, InternalUrl, settings_config
from shared.web.settings import PageSettings

from sso_issuer.authority.domain import LONGEST_ACCESS_TOKEN_SECONDS
from sso_issuer.keys.domain import PUBLISHED_AHEAD


class RetentionSettings(DatabaseSettings):
    """How long the audits are kept; a part of the service's settings for commands that need no other."""

    issuances_kept: timedelta = Field(
        timedelta(days=400), ge=timedelta(days=1), description="How long the service keeps issuances and redemptions."
    )
    authority_events_kept: timedelta = Field(
        timedelta(days=400),
        ge=timedelta(days=1),
        description="How long the service keeps the audit of the authorities.",
    )


class Settings(PageSettings, RetentionSettings):
    """The settings of sso-issuer beside those that all services with pages have."""

    model_config = settings_config("ISSUER_")

    port: int = Field(8002, ge=1, le=65535, description=PORT_MEANING)
    ledger_url: InternalUrl = Field(..., description="The internal address of points-ledger, which knows the balances.")
    onboarding_url: InternalUrl = Field(
        ..., description="The internal address of partner-onboarding, which knows users, clients and consents."
    )
    key_encryption_keys: SecretStr = Field(
        ...,
        description="Keys that seal data at rest: `1:<base64 of 32 bytes>,2:…`. The highest number seals, all open.",
    )
    rotate_after: timedelta = Field(
        timedelta(days=30), description="How long a key signs before its successor takes over."
    )
    access_token_seconds: int = Field(
        LONGEST_ACCESS_TOKEN_SECONDS,
        ge=60,
        le=LONGEST_ACCESS_TOKEN_SECONDS,
        description="How long an access token is valid.",
    )
    access_token_algorithm: Literal["ES256", "RS256"] = Field(
        "ES256", description="What signs access tokens: RS256 for those who verify nothing else, at ten times the cost."
    )
    signing_processes: int = Field(
        2,
        ge=0,
        le=64,
        description="How many processes sign with RS256 beside the service's own, from the first such signature on;"
        " 0 leaves it to threads.",
    )
    longest_assertion_seconds: int = Field(
        3600, ge=60, le=3600, description="How long a client's assertion (`private_key_jwt`) may be valid."
    )
    refused_requests_per_address: int = Field(
        120,
        ge=1,
        description="How many requests to the authorities one network may have refused in a minute before it gets 429.",
    )
    refused_codes_per_client: int = Field(
        30, ge=1, description="How many wrong codes one client may bring in a minute before it gets 429."
    )
    upkeep_seconds: float = Field(
        30, gt=0, le=3600, description="How often the service looks for keys to rotate and records to forget."
    )
    neighbour_timeout_seconds: float = Field(
        2, gt=0, le=30, description="How long points-ledger and partner-onboarding may take to answer."
    )

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
