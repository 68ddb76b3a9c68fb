"""The samples on the pages for developers, cut out as they stand, and what their reader has."""

import re
import secrets
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from local_platform.console import Terminal
from local_platform.integration_journey import IntegrationJourney
from rich.console import Console

from .running_platform import REPOSITORY

_GUIDES: Final = REPOSITORY / "docs" / "developers"
#: Whose credentials a page's reader has.
_CLIENT_OF_PAGE: Final = {
    "vendors.md": "vendor",
    "third-parties.md": "third_party",
    "partners.md": "partner",
    "partner-deutsch.md": "partner",
    "campaigns.md": "campaign",
    "platform.md": "platform",
    "receipts.md": "vendor",
    "reconciliation.md": "vendor",
    "sandbox.md": "platform",
}
GUIDES_OF_AUDIENCES: Final = tuple(_CLIENT_OF_PAGE)[:6]
_SAMPLE: Final = re.compile(
    r'^=== "(curl|Python|TypeScript|PHP)"\n\n    ```(?:sh|python|ts|php)\n(.*?)^    ```$', re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Sample:
    """A sample that can be run as it stands."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.language}"

    async def environment(self, description: Mapping[str, Any]) -> dict[str, str]:
        """The variables that the page names.

        Args:
            description: `demo.json` of a running platform.
        """
        tenant = description["sandbox"] if self.page == "sandbox.md" else description
        vendor = tenant["clients"]["vendor"]
        client = tenant["clients"][_CLIENT_OF_PAGE[self.page]]
        if self.page == "third-parties.md":
            client = await _consented(description)
        return {
            "CLOUD_API": description["gateway"],
            "AUTHORITY": f"{description['gateway']}/tenants/{description['tenant']}",
            "VENDOR_ID": description["clients"]["vendor"]["vendor_id"],
            "CLIENT_ID": client["client_id"],
            "CLIENT_SECRET": client["client_secret"],
            "SHOP_ID": vendor["client_id"],
            "SHOP_SECRET": vendor["client_secret"],
            "USER_ID": description["users"][0]["user_id"],
            "ORDER": f"sample-{secrets.token_hex(4)}",
            "NEW_USER": f"sample-{secrets.token_hex(4)}",
        }


def samples(*languages: str) -> list[Sample]:
    """Those in these languages; all of them if none is named."""
    return [
        Sample(page, language, textwrap.dedent(text))
        for page in _CLIENT_OF_PAGE
        for language, text in _SAMPLE.findall((_GUIDES / page).read_text(encoding="utf-8"))
        if not languages or language in languages
    ]


async def _consented(description: Mapping[str, Any]) -> Mapping[str, str]:
    """A third party that the tenant's admin has just allowed."""
    return await IntegrationJourney(description, Terminal(Console(quiet=True))).connect()
