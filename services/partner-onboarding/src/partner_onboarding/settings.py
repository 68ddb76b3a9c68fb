"""The settings of partner-onboarding: `ONBOARDING_…` in the environment."""

import base64
import binascii
import hashlib
import hmac
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from shared.identifiers import Tenant
from shared.reports import StandbySettings
from shared.sealing import parse_key_encryption_keys
from shared.settings import PORT_MEANING, DatabaseSettings, InternalUrl, Mode, settings_config
from shared.web.settings import PageSettings

_MIN_KEY_BYTES = 32


class AuditSettings(DatabaseSettings):
    """How long the audit is kept; a part of the service's settings for commands that need no other."""

    audit_kept: timedelta = Field(
        timedelta(days=1095), ge=timedelta(days=1), description="How long the service keeps the audit."
    )


class Settings(PageSettings, StandbySettings, AuditSettings):
    """The settings of partner-onboarding beside those that all services with pages have."""

    model_config = settings_config("ONBOARDING_")

    port: int = Field(8003, ge=1, le=65535, description=PORT_MEANING)
    issuer_url: InternalUrl = Field("http://127.0.0.1:8002", description="The internal address of sso-issuer.")
    ledger_url: InternalUrl = Field("http://127.0.0.1:8001", description="The internal address of points-ledger.")
    tokens_url: InternalUrl = Field(
        "http://127.0.0.1:8004", description="The internal address of token-service, which makes the links in mails."
    )
    key_encryption_keys: SecretStr = Field(
        ...,
        description="Keys that seal data at rest: `1:<base64 of 32 bytes>,2:…`. The highest number seals, all open.",
    )
    secret_pepper: SecretStr = Field(
        ...,
        description="Base64 of at least 32 bytes; hashes client secrets. A new value makes all client secrets void.",
    )
    account_name_key: SecretStr = Field(
        ...,
        description="Base64 of at least 32 other bytes; hashes e-mail addresses. With a new value nobody can sign in.",
    )
    session_idle_seconds: int = Field(3600, ge=300, description="A session ends when nobody has used it for so long.")
    session_lifetime_seconds: int = Field(43_200, ge=600, description="A session ends after so long in any case.")
    wrong_passwords_per_account: int = Field(
        10,
        ge=1,
        description="Wrong passwords for one account within the window, from one network or known device, before 429.",
    )
    wrong_passwords_per_address: int = Field(
        50, ge=1, description="How many wrong passwords one network may send within the window before 429."
    )
    wrong_passwords_window_seconds: int = Field(900, ge=1, description="The window in which wrong passwords count.")
    integration_requests_per_address: int = Field(
        20, ge=1, description="How many integration requests one network may submit in an hour before 429."
    )
    platform_tenant: Tenant | None = Field(
        None,
        description="The tenant whose operators get integration requests for companies that are nobody's. Without it,"
        " nobody reads them.",
    )
    developers_sandbox: Tenant | None = Field(
        None, description="The sandbox tenant in which anybody may make a test client by page. Without it, nobody may."
    )
    test_clients: int = Field(500, ge=1, description="How many test clients may live there at once; each for 30 days.")
    test_clients_per_address: int = Field(
        5, ge=1, description="How many test clients one network may make in an hour before 429."
    )
    second_factor_required: bool = Field(
        True, description="People with a role sign in with a second factor; those without one set it up first."
    )
    wrong_codes_per_account: int = Field(
        6, ge=1, description="Wrong codes of a second factor within 15 minutes before the service refuses with 429."
    )
    mails_kept: timedelta = Field(
        timedelta(days=90),
        ge=timedelta(days=14),
        description="How long the service keeps mails that are sent or given up.",
    )
    declined_requests_kept: timedelta = Field(
        timedelta(days=180),
        ge=timedelta(days=1),
        description="How long the service keeps declined integration requests.",
    )
    withdrawn_consents_kept: timedelta = Field(
        timedelta(days=1095),
        ge=timedelta(days=1),
        description="How long the service keeps a consent after its withdrawal.",
    )
    partner_maintenance: bool = Field(
        False, description="The maintenance switch: partners, and people whom partners send, get 503."
    )
    partner_requests_per_minute: int = Field(
        1200, ge=1, description="How many requests one partner may send in a minute before 429."
    )
    registrations_per_address: int = Field(
        300, ge=1, description="How many registration forms one network may send in an hour before 429."
    )
    registrations_per_email: int = Field(
        5, ge=1, description="How many registration forms may name one e-mail address in an hour before 429."
    )
    terms_version: str = Field(
        "2026-11",
        min_length=1,
        max_length=64,
        description="The version of the terms that the service keeps with each agreement.",
    )
    privacy_version: str = Field(
        "2026-11",
        min_length=1,
        max_length=64,
        description="The version of the privacy statement, kept likewise.",
    )
    mail_from: str = Field("Points platform <no-reply@localhost>", description="The sender of all mails.")
    mail_directory: Path | None = Field(
        None, description="Development only: the service writes mails into this directory and sends none."
    )
    mails_every_seconds: float = Field(2.0, gt=0, description="How often the service sends waiting mails.")
    smtp_host: str | None = Field(
        None, description="The mail server. Without it, and without `MAIL_DIRECTORY`, mails wait."
    )
    smtp_port: int = Field(587, ge=1, le=65535, description="The port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`starttls` or `tls`; `none` in development only."
    )
    smtp_username: str | None = Field(None, description="The account at the mail server; together with the password.")
    smtp_password: SecretStr | None = Field(None, description="Its password.")
    assignments_every_seconds: float = Field(
        60.0, gt=0, description="How often the service assigns months that are due."
    )
    sandboxes_every_seconds: float = Field(
        15.0, gt=0, description="How often the service tells the others again in which state each sandbox is to be."
    )
    last_used_every_seconds: float = Field(
        5.0, gt=0, description="How often the service writes when secrets were last used."
    )

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
        """A separate key for each purpose, derived from the pepper so that all replicas have the same."""
        return hmac.digest(self.pepper_bytes, f"partner-onboarding {purpose}".encode(), hashlib.sha256)

    @property
    def account_name_key_bytes(self) -> bytes:
        return _decoded(self.account_name_key)


def _decoded(value: SecretStr) -> bytes:
    try:
        return base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error:
        return b""
