"""What a service with pages reads from its environment."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import NoDecode

from shared.identifiers import Tenant
from shared.settings import Mode, ServiceSettings
from shared.web.addresses import check_address, local_path
from shared.web.time_zones import TimeZones


def _read_zones(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    return {tenant.strip(): zone.strip() for tenant, _, zone in pairs}


TenantZones = Annotated[dict[Tenant, ZoneInfo], NoDecode, BeforeValidator(_read_zones)]


def _is_link(value: str) -> str:
    if value.startswith("mailto:") and "@" in value:
        return value
    if local_path(value, "") == value:
        return value
    return check_address(value, plain_http=True, fragment=True)


#: Where a link of the footer leads: an address, `mailto:`, or a path of this platform.
Link = Annotated[str, AfterValidator(_is_link)]


class PageSettings(ServiceSettings):
    """The settings of a service that has pages; all services are given the same ones."""

    product_name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] = Field(
        "", description="What the pages call the product; without it “My points”, “Meine Punkte”."
    )
    time_zone: ZoneInfo = Field(
        ZoneInfo("UTC"),
        description="The zone in which pages write times and in which months are counted: `Europe/Berlin`.",
    )
    tenant_time_zones: TenantZones = Field(
        {}, description="Tenants with a time zone of their own: `demo=Europe/Berlin,other=America/New_York`."
    )
    terms_url: Link | None = Field(None, description="The terms of use; without it the platform's own page.")
    privacy_url: Link | None = Field(None, description="The privacy notice; without it the platform's own page.")
    imprint_url: Link | None = Field(None, description="The imprint; the footer leaves it out where it is not set.")
    help_url: Link | None = Field(None, description="Where people get help: an address or mailto:.")

    @property
    def is_production(self) -> bool:
        return self.mode is Mode.PRODUCTION

    @property
    def zones(self) -> TimeZones:
        return TimeZones(self.time_zone, self.tenant_time_zones)
