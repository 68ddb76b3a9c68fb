"""The ledger's environment: `LEDGER_…`."""

from pydantic import Field
from shared.settings import InternalUrl, ServiceSettings, settings_config


class Settings(ServiceSettings):
    model_config = settings_config("LEDGER_")

    port: int = Field(8001, ge=1, le=65535)
    onboarding_url: InternalUrl = Field(..., description="partner-onboarding, internal: the register of clients.")
    issuer_url: InternalUrl = Field(..., description="sso-issuer, internal: the keys of access tokens.")
    hold_seconds: int = Field(
        900, ge=1, le=604_800, description="How long points stay held for vendors that have no time of their own."
    )
    sweep_seconds: float = Field(5.0, gt=0, description="Pause between two looks for holds that have run out.")
    lanes: int = Field(2, ge=1, le=8, description="Transactions of the writing line under way at once.")
    batch_size: int = Field(256, ge=1, le=2000, description="Commands in one transaction at most.")
