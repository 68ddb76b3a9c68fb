"""What a service's events look like to a caller, once everything that was recorded has its number."""

from typing import Any

import httpx
from fastapi import FastAPI
from shared.dependencies import provided
from shared.events.domain import Topic
from shared.events.feed import Feed


async def heard(app: FastAPI, http: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    """All events that the caller sees, oldest first."""
    await provided(app, Feed).number_recorded()
    path = f"/events/v1/{provided(app, Topic).name}"
    events: list[dict[str, Any]] = []
    while True:
        answer = await http.get(path, headers=headers, params=query)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        events += told["events"]
        if not told["events"]:
            return events
        query = query | {"after": told["next_after"]}


async def types_heard(app: FastAPI, http: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    """Their types alone."""
    return [event["type"] for event in await heard(app, http, headers)]
