"""The samples on the pages for developers, cut out as they stand, and what their reader has."""

import asyncio
import re
import secrets
import socket
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from local_platform.console import Terminal
from local_platform.integration_journey import IntegrationJourney
from rich.console import Console

from .running_platform import REPOSITORY, RunningPlatform, free_ports, until

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
    "webhooks.md": "vendor",
    "sandbox.md": "platform",
}
GUIDES_OF_AUDIENCES: Final = tuple(_CLIENT_OF_PAGE)[:6]
_SAMPLE: Final = re.compile(
    r'^=== "(curl|Python|TypeScript|PHP)"\n\n    ```(?:sh|python|ts|php)\n(.*?)^    ```$', re.MULTILINE | re.DOTALL
)


#: Code for a reader to run, at the left margin. What a reader must first fill in (`…`) cannot be run as it stands.
_LOOSE: Final = re.compile(r"```(?:sh|python|ts|php)$")
Deliver = Callable[[], Awaitable[tuple[int, int]]]


@dataclass(frozen=True)
class Sample:
    """A sample that can be run as it stands."""

    page: str
    language: str
    #: Which one of its language on the page, from 1.
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.language}-{self.number}"

    @property
    def is_receiver(self) -> bool:
        """Whether it waits for deliveries, until it is ended."""
        return "WEBHOOK_SECRET" in self.text

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


def samples(*languages: str, receivers: bool = False) -> list[Sample]:
    """Those in these languages; all of them if none is named.

    Args:
        receivers: those that wait for deliveries, or all others.
    """
    found: list[Sample] = []
    for page in _CLIENT_OF_PAGE:
        counted: Counter[str] = Counter()
        for language, text in _SAMPLE.findall((_GUIDES / page).read_text(encoding="utf-8")):
            counted[language] += 1
            found.append(Sample(page, language, counted[language], textwrap.dedent(text)))
    return [one for one in found if one.is_receiver is receivers and (not languages or one.language in languages)]


def loose_samples() -> list[str]:
    """Code of a guide that `samples` does not find, since it stands in no tab: `page:line`."""
    return [
        f"{path.name}:{number}"
        for path in sorted(_GUIDES.glob("*.md"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _LOOSE.match(line)
    ]


@asynccontextmanager
async def delivered_to(sample: Sample, platform: RunningPlatform) -> AsyncIterator[tuple[dict[str, str], Deliver]]:
    """An endpoint for a receiver, and what sends to it once the receiver runs: a genuine event, and a forged one.

    Yields:
        The receiver's environment, and the function that delivers: it returns the statuses of both answers.
    """
    port = free_ports().base
    address = f"http://127.0.0.1:{port}/events"
    auth = platform.auth(_CLIENT_OF_PAGE[sample.page])
    async with httpx.AsyncClient(base_url=platform.gateway, auth=auth, timeout=60, trust_env=False) as api:
        made = (await api.post("/events/v1/points/endpoints", json={"url": address})).json()
        endpoint = f"/events/v1/points/endpoints/{made['endpoint_id']}"

        async def deliver() -> tuple[int, int]:
            await asyncio.to_thread(until, lambda: _listens(port), "the receiver to listen")
            tested = (await api.post(f"{endpoint}/test")).json()
            forged = {"webhook-id": "evt_1", "webhook-timestamp": f"{time.time():.0f}", "webhook-signature": "v1,AAAA"}
            async with httpx.AsyncClient(trust_env=False) as stranger:
                refused = await stranger.post(address, content=b'{"id": "evt_1"}', headers=forged)
            return tested["status"], refused.status_code

        try:
            yield {"WEBHOOK_SECRET": made["secret"], "PORT": str(port)}, deliver
        finally:
            await api.delete(endpoint)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


async def _consented(description: Mapping[str, Any]) -> Mapping[str, str]:
    """A third party that the tenant's admin has just allowed."""
    return await IntegrationJourney(description, Terminal(Console(quiet=True))).connect()
