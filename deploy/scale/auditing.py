"""The last look: whether all that was acknowledged is there, and the books agree."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from deploy.scale.load import CREDIT, USERS, Redemption
from history.network import Line

TIMEOUT_SECONDS = 30.0


class Lost(NamedTuple):
    """What was acknowledged at that time, of `time.monotonic`, and is not there."""

    at: float
    what: str


async def find_lost(port: int, vendor: Mapping[str, str], redemptions: Sequence[Redemption]) -> list[Lost]:
    """Looks every redemption up in the vendor's list, and asks again for each that seems to be lost."""
    line = Line(port, vendor)
    lost: list[Lost] = []
    try:
        listed = await _listed(line)
        for one in redemptions:
            if any(_lost_of(one, listed.get(one.transaction, {}))):
                lost += _lost_of(one, await _get(line, f"/eai/v1/points/{one.transaction}", but=404))
    finally:
        line.close()
    return lost


async def find_differences(port: int, platform: Mapping[str, str], redemptions: Sequence[Redemption]) -> list[str]:
    """Balances that are not the credit without all that was confirmed, in words."""
    spent: Counter[str] = Counter()
    for one in redemptions:
        spent[one.user] += one.points if one.confirmed_at is not None else 0
    line = Line(port, platform)
    differences = []
    try:
        for user in USERS:
            account = await _get(line, f"/v1/accounts/{user}")
            wanted = {"available": CREDIT - spent[user], "held": 0, "total": CREDIT - spent[user]}
            differences += [
                f"{user}: {name} is {account[name]}, and must be {points}"
                for name, points in wanted.items()
                if account[name] != points
            ]
    finally:
        line.close()
    return differences


async def _listed(line: Line) -> dict[str, Mapping[str, Any]]:
    """All of the vendor's transactions by their ids."""
    found: dict[str, Mapping[str, Any]] = {}
    cursor = ""
    while True:
        page = await _get(line, f"/eai/v1/points?limit=1000{cursor}")
        found |= {one["transactionid"]: one for one in page["transactions"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={quote(page['next_cursor'])}"


def _lost_of(one: Redemption, found: Mapping[str, Any]) -> Iterator[Lost]:
    state = found.get("state")
    if one.confirmed_at is not None and (state, found.get("pointsdeducted")) != ("confirmed", one.points):
        yield Lost(one.confirmed_at, f"{one.transaction} was confirmed, and is {state}")
    if one.held_at is not None and (state not in {"held", "confirmed"} or found.get("pointsrequested") != one.points):
        yield Lost(one.held_at, f"{one.transaction} was held, and is {state}")


async def _get(line: Line, path: str, *, but: int = 200) -> Any:
    """The answer, which comes at last: nothing is attacked any more."""
    async with asyncio.timeout(TIMEOUT_SECONDS * 4):
        while True:
            answer = await line.ask("GET", path, timeout_seconds=TIMEOUT_SECONDS)
            if answer is not None and answer.status in {200, but}:
                return answer.body
            await asyncio.sleep(0.2)
