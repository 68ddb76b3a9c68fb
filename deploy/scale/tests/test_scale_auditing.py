"""The last look finds what is lost, and the report what took long."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy.scale.auditing import find_differences, find_lost
from deploy.scale.load import CREDIT, USERS, Redemption, Tally, pauses
from deploy.scale.report import Chapter, table
from history.network import read_message

LIST = "/eai/v1/points?limit=1000"


@asynccontextmanager
async def gateway(answers: Mapping[str, Any], listed: Sequence[Mapping[str, Any]] = ()) -> AsyncIterator[int]:
    """Answers each path with what is given, the vendor's list by single pages, and 404 otherwise; its port."""
    pages = [{"transactions": [one], "next_cursor": f"+{number}"} for number, one in enumerate(listed, start=1)]
    pages.append({"transactions": [], "next_cursor": None})
    lists = [LIST, *(f"{LIST}&cursor=%2B{number}" for number in range(1, len(pages)))]
    answers = {**answers, **dict(zip(lists, pages, strict=True))}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, _ = await read_message(reader)
                path = head.split()[1].decode()
                body = json.dumps(answers.get(path, {"code": "transaction_not_found"})).encode()
                status = 200 if path in answers else 404
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def redemption(number: int, *, held_at: float | None = 1.0, confirmed_at: float | None = 2.0) -> Redemption:
    return Redemption(f"t-{number}", USERS[0], 7, held_at, confirmed_at)


def shown(state: str, points: int = 7) -> dict[str, Any]:
    deducted = points if state == "confirmed" else 0
    return {"state": state, "pointsrequested": points, "pointsdeducted": deducted}


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (shown("confirmed"), []),
        (shown("held"), [2.0]),
        (shown("expired"), [2.0, 1.0]),
        (shown("confirmed", points=6), [2.0, 1.0]),
        (None, [2.0, 1.0]),
    ],
)
async def test_what_was_acknowledged_and_is_not_there_is_lost(found: dict[str, Any] | None, lost: list[float]) -> None:
    answers = {} if found is None else {"/eai/v1/points/t-1": found}
    listed = [] if found is None else [{"transactionid": "t-1", **found}]
    async with gateway(answers, listed) as port:
        assert [one.at for one in await find_lost(port, {}, [redemption(1)])] == lost


async def test_what_the_list_does_not_have_yet_is_asked_for() -> None:
    listed = [{"transactionid": f"t-{number}", **shown("confirmed")} for number in (1, 2)]
    async with gateway({"/eai/v1/points/t-3": shown("confirmed")}, listed) as port:
        assert await find_lost(port, {}, [redemption(number) for number in (1, 2, 3)]) == []
        assert [one.what.split()[0] for one in await find_lost(port, {}, [redemption(4)])] == ["t-4", "t-4"]


async def test_what_was_never_acknowledged_is_not_lost() -> None:
    async with gateway({}) as port:
        assert await find_lost(port, {}, [redemption(1, held_at=None, confirmed_at=None)]) == []


async def test_a_balance_is_the_credit_without_what_was_confirmed() -> None:
    whole = {"available": CREDIT, "held": 0, "total": CREDIT}
    accounts = {f"/v1/accounts/{user}": whole for user in USERS}
    accounts[f"/v1/accounts/{USERS[0]}"] = {"available": CREDIT - 7, "held": 0, "total": CREDIT - 7}
    async with gateway(accounts) as port:
        assert await find_differences(port, {}, [redemption(1), redemption(2, confirmed_at=None)]) == []
        assert await find_differences(port, {}, [redemption(1), redemption(2)]) == [
            f"{USERS[0]}: available is {CREDIT - 7}, and must be {CREDIT - 14}",
            f"{USERS[0]}: total is {CREDIT - 7}, and must be {CREDIT - 14}",
        ]


def test_a_pause_is_a_time_without_an_acknowledgement() -> None:
    times = [0.5, 1.0, 1.2, 4.0, 4.5, 9.0]
    assert list(pauses(times, 1.1, 7.0, 1.0)) == pytest.approx([2.8, 2.5])
    assert list(pauses([], 1.0, 7.0, 1.0)) == [6.0]


def test_each_answer_is_counted_where_it_came() -> None:
    tally = Tally(acknowledged=[0.5, 1.0, 1.9, 2.0], refused=[2.5])
    first, second = Chapter("first", 0.0, 2.0), Chapter("second", 2.0, 3.0)
    columns = [list(column.cells) for column in table([first, second], tally, []).columns]
    assert columns[0] == ["first", "second"]
    assert columns[3] == ["3", "1"]
    assert columns[4] == ["0", "1"]
