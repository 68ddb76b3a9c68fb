"""Lists of a vendor's books, sent to be compared with ours."""

import json
from typing import Any

import asyncpg
import httpx

from .parties import Platform, Vendor
from .test_ledger_eai import bring_to

PATH = "/eai/v1/reconciliations"
NDJSON = "application/x-ndjson"


NOTHING = {
    "yours": 0,
    "ours": 0,
    "agreed": 0,
    "only_yours": 0,
    "only_ours": 0,
    "state_differs": 0,
    "points_differ": 0,
    "still_held": 0,
    "malformed": 0,
}


async def post(vendor: Vendor, content: bytes, media_type: str = NDJSON, **query: str) -> httpx.Response:
    headers = {**vendor.headers, "Content-Type": media_type}
    return await vendor.client.post(PATH, params=query, content=content, headers=headers)


async def reconcile(
    vendor: Vendor, content: bytes, media_type: str = NDJSON, **query: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The findings and the summary."""
    answer = await post(vendor, content, media_type, **query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    *findings, last = [json.loads(line) for line in answer.content.splitlines()]
    return findings, last["summary"]


def ndjson(*lines: tuple[str, str, int]) -> bytes:
    return b"".join(
        json.dumps({"transactionid": id_, "state": state, "points": points}).encode() + b"\n"
        for id_, state, points in lines
    )


#: State → the points that the contract tells of it, of a transaction over 40.
STATES = {"held": 40, "confirmed": 40, "rolled_back": 0, "expired": 0, "rejected": 0, "cancelled": 0}


async def all_states(shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str) -> None:
    """A transaction in each state, called after it."""
    for state in STATES:
        await bring_to(state, shop, await platform.user_with(100), rows, tenant, name=state)
