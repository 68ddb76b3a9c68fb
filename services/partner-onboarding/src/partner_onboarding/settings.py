"""The environment of this service: `ONBOARDING_…`."""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from shared.rate_limits import CountsUrl
from shared.sealing import parse_key_encryption_keys
from shared.settings import InternalUrl, Mode, ServiceSettings, settings_config

_MIN_KEY_BYTES = 32


class Settings(ServiceSettings):
    """What partner-onboarding reads; see the README for the table with defaults."""

    model_config = settings_config("ONBOARDING_")

    port: int = Field(8003, ge=1, le=65535)
    issuer_url: InternalUrl = Field("http://127.0.0.1:8002", description="sso-issuer, internally.")
    ledger_url: InternalUrl = Field("http://127.0.0.1:8001", description="points-ledger, internally.")
    tokens_url: InternalUrl = Field("http://127.0.0.1:8004", description="token-service, internally: links in mails.")
    key_encryption_keys: SecretStr = Field(..., description="1:<base64 of 32 bytes>,2:<…>; the highest encrypts.")
    secret_pepper: SecretStr = Field(..., description="Base64 of at least 32 bytes; hashes client secrets.")
    account_name_key: SecretStr = Field(..., description="Base64 of at least 32 bytes; hashes e-mail addresses.")
    session_idle_seconds: int = Field(3600, ge=300, description="A session ends when not used for so long.")
    session_lifetime_seconds: int = Field(43_200, ge=600, description="A session ends after so long in any case.")
    wrong_passwords_per_account: int = Field(10, ge=1, description="Within the window, before 429.")
    wrong_passwords_per_address: int = Field(50, ge=1, description="Within the window, before 429.")
    wrong_passwords_window_seconds: int = Field(900, ge=1)
    integration_requests_per_address: int = Field(20, ge=1, description="Within an hour, before 429.")
    rate_limit_url: CountsUrl = Field(
        SecretStr("memory://"), description="Where requests are counted: memory://, redis://… or valkey://…"
    )
    partner_maintenance: bool = Field(False, description="Answers partners, and those they send, with 503.")
    partner_requests_per_minute: int = Field(1200, ge=1, description="Of one partner, before 429.")
    registrations_per_address: int = Field(300, ge=1, description="Forms from one address within an hour, before 429.")
    registrations_per_email: int = Field(5, ge=1, description="Forms for one e-mail address within an hour.")
    terms_url: str | None = Field(None, description="Where the terms of use are; a short page of our own if not said.")
    privacy_url: str | None = Field(None, description="Where one reads about one's data; likewise.")
    terms_version: str = Field("2026-11", min_length=1, max_length=64, description="Kept with each agreement.")
    privacy_version: str = Field("2026-11", min_length=1, max_length=64)
    mail_from: str = Field("Points platform <no-reply@localhost>", description="The sender of all mails.")
    mail_directory: Path | None = Field(None, description="For development: mails are written here, not sent.")
    mails_every_seconds: Annotated[float, Field(gt=0, description="How often waiting mails are sent.")] = 2.0
    smtp_host: str | None = Field(None, description="Without it (and without a directory) mails wait.")
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    assignments_every_seconds: Annotated[float, Field(gt=0, description="How often due months are assigned.")] = 60.0
    last_used_every_seconds: Annotated[float, Field(gt=0, description="How often last uses are written.")] = 5.0

    @field_validator("terms_url", "privacy_url")
    @classmethod
    def _is_page(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://", "/")):
            raise ValueError("must begin with https://, or with / for a page of this site")
        return value

    @field_validator("key_encryption_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        parse_key_encryption_keys(value.get_secret_value())
        return value

    @field_validator("secret_pepper", "account_name_key")
    @classmethod
    def _is_key(cls, value: SecretStr) -> SecretStr:
        if len(_decoded(value)) < _MIN_KEY_BYTES:
            raise ValueError("must be base64 of at least 32 random bytes")
        return value

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if _decoded(self.secret_pepper) == _decoded(self.account_name_key):
            raise ValueError("secret_pepper and account_name_key must differ: each is to be replaced by itself")
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.session_idle_seconds > self.session_lifetime_seconds:
            raise ValueError("session_idle_seconds must not be longer than session_lifetime_seconds")
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password are given together, or neither")
        if self.smtp_host is not None and self.mail_directory is not None:
            raise ValueError("smtp_host and mail_directory exclude each other: a mail is sent or written there")
        return self

    @model_validator(mode="after")
    def _mails_are_safe(self) -> Self:
        if self.mode is Mode.PRODUCTION and self.mail_directory is not None:
            raise ValueError("mail_directory is for development: mails would lie there to be read")
        if self.mode is Mode.PRODUCTION and self.smtp_host is not None and self.smtp_security == "none":
            raise ValueError("smtp_security must be starttls or tls in production mode")
        return self

    @property
    def pepper_bytes(self) -> bytes:
        return _decoded(self.secret_pepper)

    def key_for(self, purpose: str) -> bytes:
        """A key of its own for each purpose, drawn from the pepper so that all replicas have the same."""
        return hmac.digest(self.pepper_bytes, f"partner-onboarding {purpose}".encode(), hashlib.sha256)

    @property
    def account_name_key_bytes(self) -> bytes:
        return _decoded(self.account_name_key)


def _decoded(value: SecretStr) -> bytes:
    try:
        return base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error:
        return b""
