"""The settings of token-service: `TOKENS_…` in the environment."""

import re
from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from shared.reports import ReportSettings
from shared.sealing import parse_key_encryption_keys
from shared.settings import PORT_MEANING, InternalUrl, settings_config
from shared.web.settings import PageSettings

from token_service.keys.ring import NOTICE


class Settings(PageSettings, ReportSettings):
    """The settings of token-service beside those that all services with pages have."""

    model_config = settings_config("TOKENS_")

    port: int = Field(8004, ge=1, le=65535, description=PORT_MEANING)
    onboarding_url: InternalUrl = Field(
        ..., description="The internal address of partner-onboarding, which knows clients and browser sessions."
    )
    issuer_url: InternalUrl = Field(
        ..., description="The internal address of sso-issuer, which publishes the keys of access tokens."
    )
    landing_origin: str | None = Field(
        None,
        description="The origin of landing pages, where it is not that of `PUBLIC_URL`: `https://offers.example`. The "
        "gateway must know its host (`GATEWAY_LANDING_HOST`), and shows nothing but landing pages there.",
    )
    key_encryption_keys: SecretStr = Field(
        ...,
        description="Keys that seal data at rest: `1:<base64 of 32 bytes>,2:…`. The highest number seals, all open.",
    )
    key_ahead_seconds: float = Field(
        15.0,
        ge=0,
        le=3600,
        description="How long every process knows a new key before it signs; longer than `KEY_REFRESH_SECONDS`.",
    )
    key_refresh_seconds: float = Field(
        3.0, gt=0, le=60, description="How often a process reads the keys that other processes made."
    )
    rotate_after: timedelta = Field(timedelta(days=365), description="How long a key makes new tokens.")
    retention: timedelta = Field(
        timedelta(days=90), ge=timedelta(0), description="How long the service keeps an expired token."
    )
    housekeeping_seconds: float = Field(
        300.0, gt=0, description="The pause between two rounds of purging tokens and rotating keys."
    )
    count_flush_seconds: float = Field(
        0.5, gt=0, le=0.9, description="How long counts wait in memory before they are written; a crash loses them."
    )
    bad_signatures_per_credential: int = Field(
        1200, ge=1, description="How many forged tokens one client may bring in a minute before it gets 429."
    )
    bad_signatures_per_address: int = Field(
        600, ge=1, description="How many forged tokens one visitor's address may bring in a minute before it gets 429."
    )
    lanes: int = Field(2, ge=1, le=3, description="How many transactions of each writing line run at once.")
    batch: int = Field(256, ge=1, le=2000, description="The most commands in one transaction.")
    batch_max_bytes: int = Field(16_000_000, ge=1024, description="The longest body of `POST /v1/tokens/batch`.")

    @property
    def home(self) -> str:
        """Where links of the pages to other pages lead: elsewhere, if landing pages have a host of their own."""
        return self.public_url if self.landing_origin else ""

    @property
    def key_notice(self) -> timedelta:
        """After how long every process knows a key that is needed at once."""
        return max(NOTICE, timedelta(seconds=self.key_refresh_seconds + 2))

    @field_validator("key_encryption_keys")
    @classmethod
    def _can_be_read(cls, value: SecretStr) -> SecretStr:
        parse_key_encryption_keys(value.get_secret_value())
        return value

    @field_validator("landing_origin")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not re.fullmatch(r"https?://[^\s/?#@]+", value):
            raise ValueError("must be https:// (or, in development, http://) and a host, without a path")
        return value

    @model_validator(mode="after")
    def _landing_pages_are_safe_and_elsewhere(self) -> Self:
        if self.landing_origin is None:
            return self
        if self.is_production and not self.landing_origin.startswith("https://"):
            raise ValueError("landing_origin must be https:// in production mode")
        if urlsplit(self.landing_origin).hostname == urlsplit(self.public_url).hostname:
            raise ValueError("landing_origin must have another host than public_url: cookies know no ports")
        return self

    @model_validator(mode="after")
    def _keys_are_known_before_they_sign(self) -> Self:
        if self.key_refresh_seconds >= self.key_ahead_seconds:
            raise ValueError("key_refresh_seconds must be less than key_ahead_seconds: a key is read before it signs")
        if self.rotate_after <= timedelta(seconds=self.key_ahead_seconds):
            raise ValueError(
                "rotate_after must be longer than key_ahead_seconds: a key signs before its successor takes over"
            )
        return self
