"""The last look at everything, when nothing happens any more."""

import asyncio
from collections.abc import Mapping
from typing import Any

from platform_testing.processes import PATIENCE_SECONDS

from history.network import Answer
from history.playing import USERS
from history.recording import Recorder
from history.records import TransactionKey
from history.world import HASTY, VENDORS, World

#: An event is seen within two seconds; who waits for longer than this has missed it.
EVENTS_SECONDS = 30


async def audit(world: World, recorder: Recorder, followed: list[str]) -> None:
    """Writes the end into the history: every transaction, account, statement, event, and what `verify` says."""
    history = recorder.history
    history.followed = followed
    named = list(history.by_transaction())
    found = await _transactions(world)
    for key in named:
        asked = {"vendor": key.vendor, "transaction": key.transaction}
        call = recorder.begin("auditor", "look_up", asked)
        missing = {"status": "failed", "code": "transaction_not_found"}
        recorder.end(call, Answer(200, found[key], False) if key in found else Answer(404, missing, False))
    platform = world.credentials.platform
    for user in USERS:
        history.accounts[user] = (await world.ask("GET", f"/v1/accounts/{user}", platform)).body
        history.statements[user] = list(
            reversed(await _pages(world, f"/v1/accounts/{user}/entries", platform, "entries"))
        )
    history.feeds["platform"] = await _events(world, platform, found)
    for vendor, headers in world.credentials.vendors.items():
        history.feeds[vendor] = await _read_feed(world, headers)
    history.followed += [
        event["id"] for event in await _read_feed(world, platform, after=history.followed[-1] if followed else "")
    ]
    history.verified = await asyncio.to_thread(world.verify)


async def _transactions(world: World) -> dict[TransactionKey, dict[str, Any]]:
    """All, when the hasty vendor's holds have ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = {
                TransactionKey(vendor, one["transactionid"]): one
                for vendor in VENDORS
                for one in await _pages(world, "/eai/v1/points", world.credentials.vendors[vendor], "transactions")
            }
            if not any(key.vendor == HASTY and one["state"] == "held" for key, one in found.items()):
                return found


async def _pages(world: World, path: str, headers: Mapping[str, str], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = "?limit=100"
    while True:
        body = (await world.ask("GET", path + query, headers)).body
        found += body[name]
        if body["next_cursor"] is None:
            return found
        query = f"?limit=100&cursor={body['next_cursor']}"


async def _events(
    world: World, headers: Mapping[str, str], found: Mapping[TransactionKey, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """All events, once those of the last holds that ended by themselves are there, or have been waited for in vain."""
    wanted = sum(one["state"] == "expired" for one in found.values())
    events: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(EVENTS_SECONDS):
            while sum(event["type"] == "points.expired" for event in events) < wanted:
                after = events[-1]["id"] if events else ""
                events += await _read_feed(world, headers, after=after)
    except TimeoutError:
        # That one is missing is for the checker to say.
        pass
    return events + await _read_feed(world, headers, after=events[-1]["id"] if events else "")


async def _read_feed(world: World, headers: Mapping[str, str], *, after: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = f"&after={after}" if after else ""
    while True:
        body = (await world.ask("GET", f"/events/v1/points?limit=1000{query}", headers)).body
        if not body["events"]:
            return found
        found += body["events"]
        query = f"&after={body['next_after']}"
