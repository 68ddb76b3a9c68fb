"""This service's environment; every name begins with `TOKENS_`."""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from shared.sealing import parse_key_encryption_keys
from shared.settings import InternalUrl, ServiceSettings, settings_config


class Settings(ServiceSettings):
    """What token-service reads beside the settings that all services have; see the README for the table."""

    model_config = settings_config("TOKENS_")

    port: int = Field(8004, ge=1, le=65535)
    onboarding_url: InternalUrl = Field(..., description="partner-onboarding, internal: clients and browser sessions.")
    issuer_url: InternalUrl = Field(..., description="sso-issuer, internal: the keys of access tokens.")
    key_encryption_keys: SecretStr = Field(
        ..., description="`1:<base64 of 32 bytes>[,2:…]`; the highest number encrypts, all decrypt."
    )
    key_ahead_seconds: float = Field(
        15.0, ge=0, le=3600, description="How long a new key is known to every process before it signs."
    )
    key_refresh_seconds: float = Field(3.0, gt=0, le=60, description="How often keys of other processes are read.")
    rotate_after: timedelta = Field(timedelta(days=365), description="How long a key signs, ISO 8601 (`P365D`).")
    retention: timedelta = Field(
        timedelta(days=90), ge=timedelta(0), description="How long an expired token is kept, ISO 8601 (`P90D`)."
    )
    housekeeping_seconds: float = Field(300.0, gt=0, description="Pause between two rounds of purging.")
    count_flush_seconds: float = Field(
        0.5, gt=0, le=0.9, description="How long plain counts wait to be written; a crash loses at most a second."
    )
    bad_signatures_per_credential: int = Field(1200, ge=1, description="Within a minute, before 429.")
    bad_signatures_per_address: int = Field(600, ge=1, description="Within a minute, before 429.")
    lanes: int = Field(2, ge=1, le=3, description="Transactions of each writing line under way at once.")
    batch: int = Field(256, ge=1, le=2000, description="Commands in one transaction at most.")
    batch_max_bytes: int = Field(16_000_000, ge=1024, description="Longest body of a batch.")

    @field_validator("key_encryption_keys")
    @classmethod
    def _can_be_read(cls, value: SecretStr) -> SecretStr:
        parse_key_encryption_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _keys_are_known_before_they_sign(self) -> Self:
        if self.key_refresh_seconds >= self.key_ahead_seconds:
            raise ValueError("key_refresh_seconds must be less than key_ahead_seconds: a key is read before it signs")
        if self.rotate_after <= timedelta(seconds=self.key_ahead_seconds):
            raise ValueError("rotate_after must be longer than key_ahead_seconds: a key signs before it is relieved")
        return self
