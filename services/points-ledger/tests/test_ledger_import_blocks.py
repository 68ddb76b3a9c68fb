"""Lines that are booked together come to what each would have come to alone."""

import asyncio
import random
import secrets
from typing import Any

import asyncpg
import pytest
from points_ledger.accounts import crediting, writing
from points_ledger.domain.accounts import Entry

from .parties import Platform
from .test_ledger_imports import line, ndjson, send

#: So much that a second credit of it is refused.
MUCH = 9_007_199_254_740_000


def told(outcome: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """An answer without what no two calls share: its line, its time, and the account's own name."""
    left = {name: value for name, value in outcome.items() if name not in {"line", "created_at", "type", "request_id"}}
    return left | ({"user_id": names[outcome["user_id"]]} if "user_id" in outcome else {})


async def accounts(platform: Platform) -> dict[str, str]:
    """Users by what they are like: two as any, one who has nearly all that fits, one closed, one without an account."""
    closed = await platform.user_with(3)
    answer = await platform.client.delete(f"/v1/accounts/{closed}?reason=x", headers=platform.headers)
    assert answer.status_code == 200
    users = {"one": await platform.user_with(0), "two": await platform.user_with(5)}
    return users | {"rich": await platform.user_with(MUCH), "closed": closed, "nobody": f"no-{secrets.token_hex(4)}"}


async def one_by_one(platform: Platform, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    outcomes = []
    for each in lines:
        body = {name: value for name, value in each.items() if name != "user_id"}
        answer = await platform.client.post(
            f"/v1/accounts/{each['user_id']}/credits", json=body, headers=platform.headers
        )
        said = answer.json()
        shown = said if answer.is_success else {"code": said["code"], "detail": said["detail"]}
        outcomes.append({"status": answer.status_code, **shown})
    return outcomes


@pytest.mark.parametrize("seed", range(12))
async def test_an_import_says_and_does_what_single_credits_would(seed: int, platform: Platform) -> None:
    by_chance = random.Random(seed)  # noqa: S311 — the same lists again
    together, alone = await accounts(platform), await accounts(platform)
    # Of some lists all references are new and all accounts open: these are booked in one go.
    kinds = list(together) if seed % 3 else ["one", "two", "nobody"]
    references = 8 if seed % 2 else 100_000
    chosen = [
        (by_chance.choice(kinds), by_chance.choice((1, 2, 700)), f"r-{by_chance.randrange(references)}")
        for _ in range(60)
    ]
    names = {user: kind for users in (together, alone) for kind, user in users.items()}
    first, second = chosen[:40], chosen[20:]
    for part in (first, second):
        imported = await send(platform, ndjson(*(line(together[kind], *rest) for kind, *rest in part)))
        single = await one_by_one(platform, [line(alone[kind], *rest) for kind, *rest in part])
        assert [told(each, names) for each in imported[:-1]] == [told(each, names) for each in single]
        statuses = [each["status"] for each in single]
        assert imported[-1]["summary"] == {
            "lines": len(part),
            "credited": statuses.count(201),
            "repeated": statuses.count(200),
            "refused": len(part) - statuses.count(201) - statuses.count(200),
        }
    for kind in ("one", "two", "rich", "closed"):
        assert await platform.balance(together[kind]) == await platform.balance(alone[kind])


async def test_lists_that_come_at_once_book_each_reference_once(platform: Platform) -> None:
    users = [await platform.user_with(0) for _ in range(40)]
    lines = [line(user, 3, f"r-{number}") for number in range(30) for user in users]
    orders = [random.Random(seed).sample(lines, len(lines)) for seed in range(4)]  # noqa: S311 — the same lists again
    all_outcomes = await asyncio.gather(*(send(platform, ndjson(*order)) for order in orders))
    statuses = [outcome["status"] for outcomes in all_outcomes for outcome in outcomes[:-1]]
    assert (statuses.count(201), statuses.count(200)) == (len(lines), 3 * len(lines))
    for user in users:
        assert await platform.balance(user) == (90, 0)


async def test_an_import_beside_redemptions_of_the_same_accounts_ends_as_both_would(platform: Platform) -> None:
    users = [await platform.user_with(1000) for _ in range(30)]
    lines = [line(user, 1, f"r-{number}") for number in range(20) for user in users]
    debits = (platform.debit(user, 10) for _ in range(5) for user in users)
    outcomes, *answers = await asyncio.gather(send(platform, ndjson(*lines)), *debits)
    assert {answer.status_code for answer in answers} == {201}
    assert outcomes[-1]["summary"]["credited"] == len(lines)
    for user in users:
        assert await platform.balance(user) == (970, 0)


async def test_a_line_that_is_repeated_writes_its_account_so_that_the_answer_waits_until_it_is_durable(
    platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(0)
    question = "SELECT xmin::text, available, entries FROM points_ledger.accounts WHERE user_id = $1"
    lines = ndjson(line(user, 3, "a"), line(user, 4, "b"))
    await send(platform, lines)
    before = await rows.fetchrow(question, user)
    outcomes = await send(platform, lines)
    assert [outcome["status"] for outcome in outcomes[:-1]] == [200, 200]
    after = await rows.fetchrow(question, user)
    assert before["xmin"] != after["xmin"]
    assert tuple(before)[1:] == tuple(after)[1:] == (7, 2)


async def test_a_line_that_the_database_does_not_take_takes_no_other_with_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [await platform.user_with(0) for _ in range(8)]
    write_credits = writing.write_credits

    async def choosy(*connection: Any, entries: list[Entry], **rest: Any) -> None:
        if any(entry.reference == "poison" for entry in entries):
            raise asyncpg.CheckViolationError("of a kind that nobody has thought of")
        await write_credits(*connection, entries=entries, **rest)

    monkeypatch.setattr(crediting, "write_credits", choosy)
    good = [line(user, 1, "good") for user in users]
    outcomes = await send(platform, ndjson(*good[:5], line(users[0], 1, "poison"), *good[5:]))
    assert [outcome["status"] for outcome in outcomes[:-1]] == [*[201] * 5, 500, *[201] * 3]
    assert outcomes[-1] == {"summary": {"lines": 9, "credited": 8, "repeated": 0, "refused": 1}}
    for user in users:
        assert await platform.balance(user) == (1, 0)


@pytest.mark.parametrize("users", [3, 700])
async def test_the_lines_of_an_account_keep_their_order_from_block_to_block(users: int, platform: Platform) -> None:
    names = [f"u-{number}" for number in range(users)]
    lines = [line(names[number % users], 1 + number % 7, f"r-{number}") for number in range(2500)]
    outcomes = await send(platform, ndjson(*lines), open_accounts="true")
    assert outcomes[-1]["summary"]["credited"] == len(lines)
    assert [outcome["reference"] for outcome in outcomes[:-1]] == [each["reference"] for each in lines]
    booked: dict[str, tuple[int, int]] = {}
    for outcome in outcomes[:-1]:
        number, balance = booked.get(outcome["user_id"], (0, 0))
        booked[outcome["user_id"]] = number + 1, balance + outcome["points"]
        assert (outcome["number"], outcome["balance"]) == booked[outcome["user_id"]]
