"""The settings of points-ledger: `LEDGER_…` in the environment."""

from pydantic import Field, SecretStr, field_validator
from shared.reports import ReportSettings
from shared.sealing import parse_key_encryption_keys
from shared.settings import PORT_MEANING, InternalUrl, settings_config


class Settings(ReportSettings):
    """The settings of points-ledger beside those that all services have."""

    model_config = settings_config("LEDGER_")

    port: int = Field(8001, ge=1, le=65535, description=PORT_MEANING)
    onboarding_url: InternalUrl = Field(
        ..., description="The internal address of partner-onboarding, which knows the clients."
    )
    issuer_url: InternalUrl = Field(
        ..., description="The internal address of sso-issuer, which publishes the keys of access tokens."
    )
    key_encryption_keys: SecretStr = Field(
        ...,
        description="Keys that seal data at rest: `1:<base64 of 32 bytes>,2:…`. The highest number seals, all open.",
    )
    hold_seconds: int = Field(
        900, ge=1, le=604_800, description="How long a hold lasts for a vendor without a hold time of its own."
    )
    max_open_holds: int = Field(10_000, ge=1, description="Open holds of one vendor in one account at most.")
    max_open_holds_of_vendor: int = Field(
        1_000_000, ge=1, description="Open holds of one vendor in all accounts at most; counted now and then."
    )
    sweep_seconds: float = Field(5.0, gt=0, description="The pause between two searches for expired holds.")
    lanes: int = Field(2, ge=1, le=8, description="How many transactions of the writing line run at once.")
    batch_size: int = Field(256, ge=1, le=2000, description="The most commands in one transaction.")

    @field_validator("key_encryption_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        parse_key_encryption_keys(value.get_secret_value())
        return value
