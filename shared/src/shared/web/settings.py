"""What a service with pages reads from its environment."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints

from shared.settings import Mode, ServiceSettings
from shared.web.addresses import check_address, local_path


def _is_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must name a zone of the IANA time zone database, such as Europe/Berlin") from None
    return value


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
    time_zone: Annotated[str, AfterValidator(_is_zone)] = Field(
        "UTC", description="In which zone pages write times; a name of the IANA database, such as Europe/Berlin."
    )
    terms_url: Link | None = Field(None, description="The terms of use; without it the platform's own page.")
    privacy_url: Link | None = Field(None, description="The privacy notice; without it the platform's own page.")
    imprint_url: Link | None = Field(None, description="The imprint; the footer leaves it out where it is not set.")
    help_url: Link | None = Field(None, description="Where people get help: an address or mailto:.")

    @property
    def is_production(self) -> bool:
        return self.mode is Mode.PRODUCTION
