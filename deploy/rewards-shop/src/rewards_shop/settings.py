"""What the shop is told by its environment: names begin with SHOP_."""

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) address")
    return url.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]


class ShopSettings(BaseSettings):
    """One shop, one platform, one tenant."""

    model_config = SettingsConfigDict(env_prefix="SHOP_")

    host: str = "127.0.0.1"
    port: int = Field(default=8010, ge=1, le=65535)

    platform_url: WebAddress
    """The gateway: every call the shop makes goes there, and nowhere else."""
    account_url: WebAddress = ""
    """Where "back to the platform" leads; by default `<platform_url>/account`."""
    platform_ca: Path | None = None
    """A file with the certificate authority of the platform, where it is not a public one."""
    allow_plain_http: bool = False
    """Points and passwords travel by https; plain http is for this machine (and a closed test network) only."""

    client_id: str = Field(min_length=1)
    client_secret: SecretStr = Field(min_length=1)
    vendor_id: str = Field(min_length=1)

    issuer: WebAddress = ""
    """The only `iss` the shop believes; by default the tenant `demo` of the platform."""
    audience: str = ""
    """The `aud` that means this shop; by default the vendor id."""
    jwks_url: WebAddress = ""
    """Where the issuer shows its public keys; by default `<issuer>/jwks.json`."""

    state_path: Path
    """An SQLite file: orders must outlive the process that took them."""
    session_secret: SecretStr = Field(min_length=32)
    session_seconds: int = Field(default=7200, ge=60)
    secure_cookies: bool = False
    """True wherever browsers reach the shop by https."""

    patience_seconds: float = Field(default=8.0, ge=0)
    """How long a person is kept waiting for an order before the page says that it is still being settled."""
    resume_seconds: float = Field(default=5.0, gt=0)
    """How often orders whose outcome is not known yet are asked about again."""

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
