"""The settings of the shop: `SHOP_…` in the environment."""

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) address")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]


class ShopSettings(BaseSettings):
    """One shop, one platform, one tenant."""

    model_config = SettingsConfigDict(env_prefix="SHOP_", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """The address the shop listens on."""
    port: int = Field(default=8010, ge=1, le=65535)
    """The port the shop listens on."""

    platform_url: WebAddress
    """The gateway: the shop sends every call there and nowhere else."""
    account_url: WebAddress = ""
    """The target of "back to the platform"; by default `<platform_url>/account`."""
    platform_ca: Path | None = None
    """A file with the certificate of the platform's own authority, if it has one."""
    allow_plain_http: bool = False
    """Allows plain http to another machine; for a closed test network only."""

    client_id: str = Field(min_length=1)
    """The shop's client at the platform; scope `points:redeem`."""
    client_secret: SecretStr = Field(min_length=1)
    """The secret of this client."""
    vendor_id: str = Field(min_length=1)
    """The shop's vendor id at the platform."""

    issuer: WebAddress = ""
    """The only `iss` the shop accepts; by default `<platform_url>/tenants/demo`."""
    audience: str = ""
    """The only `aud` the shop accepts; by default the vendor id."""
    jwks_url: WebAddress = ""
    """The issuer's public keys; by default `<issuer>/jwks.json`."""

    webhook_secret: SecretStr | None = None
    """The secret (`whsec_…`) of the shop's endpoint for events, `/webhooks/points`; without one the shop takes none."""

    time_zone: ZoneInfo = ZoneInfo("UTC")
    """The zone in which pages write times: `Europe/Berlin`."""
    state_path: Path
    """The SQLite file (mode 0600) that keeps orders, sessions and last known balances."""
    session_secret: SecretStr = Field(min_length=32)
    """At least 32 characters; signs cookies and forms."""
    session_seconds: int = Field(default=7200, ge=60)
    """How long a session lasts."""
    secure_cookies: bool = False
    """`true` where browsers reach the shop by https; the cookie is then `__Host-shop_session`."""

    patience_seconds: float = Field(default=8.0, ge=0)
    """How long a person waits for an order before the page says that it is still being settled."""
    resume_seconds: float = Field(default=5.0, gt=0)
    """How often the shop asks about orders whose outcome it does not know yet."""

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, given: dict[str, Any]) -> dict[str, Any]:
        if not given.get("platform_url"):
            return given  # Its absence is what will be told.
        filled = dict(given)
        platform_url = str(filled["platform_url"]).rstrip("/")
        filled["account_url"] = filled.get("account_url") or f"{platform_url}/account"
        filled["issuer"] = filled.get("issuer") or f"{platform_url}/tenants/demo"
        filled["audience"] = filled.get("audience") or filled.get("vendor_id", "")
        filled["jwks_url"] = filled.get("jwks_url") or f"{filled['issuer'].rstrip('/')}/jwks.json"
        return filled

    @field_validator("webhook_secret")
    @classmethod
    def _can_verify(cls, secret: SecretStr | None) -> SecretStr | None:
        try:
            if secret is not None:
                Webhook(secret.get_secret_value())
        except (ValueError, EmptyWebhookSecretError):
            raise ValueError("must be whsec_ and base64, as the platform showed it") from None
        return secret

    @model_validator(mode="after")
    def _insist_on_https(self) -> "ShopSettings":
        for url in (self.platform_url, self.jwks_url):
            parts = urlsplit(url)
            if parts.scheme == "http" and parts.hostname not in LOOPBACK and not self.allow_plain_http:
                raise ValueError(f"{url} must be https (or set SHOP_ALLOW_PLAIN_HTTP on a closed test network)")
        return self


def load_settings() -> ShopSettings:
    """The settings from the environment, or from files named `shop_<setting>` in SHOP_SECRETS_DIR."""
    return ShopSettings(_secrets_dir=os.environ.get("SHOP_SECRETS_DIR"))
