"""What has been can be read again: statements, past balances, a vendor's transactions, and the sum of it all."""

import asyncio

import asyncpg
import httpx
import orjson
import pytest
from points_ledger.statements import DATED
from points_ledger.verifying import verify

from .parties import EAI, Platform, Vendor

INSERT = (
    "INSERT INTO points_ledger.transactions VALUES ($1, 'shop', 'slow', $2, 'rejected', 1, 0, 0, '',"
    " clock_timestamp(), NULL, clock_timestamp(), clock_timestamp())"
)


async def test_a_statement_shows_every_entry_once_with_the_balance_after_it(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor
) -> None:
    user = await platform.user_with(100)
    await platform.debit(user, 5)
    await shop.commit(user, "t-1", 40)
    await shop.confirm(user, "t-1", 30)
    await shop.refund(user, "t-1", "r-1", 10)

    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"/v1/accounts/{user}/entries", params=query, headers=platform.headers)).json()
        seen += page["entries"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [(e["kind"], e["points"], e["balance"]) for e in seen] == [
        ("refund", 10, 75),
        ("redemption", -30, 65),
        ("debit", -5, 95),
        ("credit", 100, 100),
    ]
    assert (seen[0]["vendor_id"], seen[0]["reference"]) == ("shop", "t-1/r-1")


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W10", "LTE", "dHJ1ZQ", "é"])
async def test_a_cursor_that_was_not_given_out_is_refused(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, cursor: str
) -> None:
    user = await platform.user_with(1)
    for url, headers in ((f"/v1/accounts/{user}/entries", platform.headers), (EAI, shop.headers)):
        answer = await client.get(url, params={"cursor": cursor}, headers=dict(headers))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor"), url


async def test_the_balance_of_a_past_instant_is_what_it_was_then(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)

    async def now() -> str:
        return str((await rows.fetchval("SELECT clock_timestamp()")).isoformat())

    async def at(moment: str) -> tuple[int, int]:
        answer = await client.get(f"/v1/accounts/{user}", params={"at": moment}, headers=platform.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["available"], answer.json()["held"]

    earned = await now()
    await shop.commit(user, "t-1", 40)
    held = await now()
    await shop.confirm(user, "t-1", 30)
    spent = await now()
    await shop.commit(user, "t-2", 10)
    await shop.rollback(user, "t-2")

    assert await at("2026-01-01T00:00:00Z") == (0, 0)
    assert await at(earned) == (100, 0)
    assert await at(held) == (60, 40)
    assert await at(spent) == (70, 0)
    assert await platform.balance(user) == (70, 0)


async def test_the_balance_of_a_future_instant_is_refused(client: httpx.AsyncClient, platform: Platform) -> None:
    user = await platform.user_with(1)
    answer = await client.get(f"/v1/accounts/{user}", params={"at": "2999-01-01T00:00:00Z"}, headers=platform.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "instant_in_the_future")


async def test_a_vendor_reads_its_own_transactions_page_by_page_and_goes_on_later(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor
) -> None:
    user = await platform.user_with(100)
    for number in range(5):
        await shop.commit(user, f"t-{number}", 1)
    await shop.confirm(user, "t-0")
    await shop.rollback(user, "never-committed")

    async def pages(resume: str | None, **query: str) -> tuple[list[str], str]:
        """What there is from `resume` on, and where to resume another day."""
        seen: list[str] = []
        cursor = resume
        while True:
            given = {"limit": "2", **query} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(EAI, params=given, headers=dict(shop.headers))).json()
            seen += [transaction["transactionid"] for transaction in page["transactions"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return seen, page["resume_cursor"]

    everything, cursor = await pages(None)
    assert everything == ["t-0", "t-1", "t-2", "t-3", "t-4", "never-committed"]
    await shop.commit(user, "t-5", 1)
    later, cursor = await pages(cursor)
    assert later == ["t-5"]
    assert await pages(cursor) == ([], cursor)
    assert (await pages(None, state="confirmed"))[0] == ["t-0"]
    assert (await pages(None, state="cancelled"))[0] == ["never-committed"]


async def test_a_page_never_passes_a_transaction_that_is_still_being_written(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    late = rows.transaction()
    await late.start()
    try:
        await rows.execute(
            f"{DATED} {INSERT}",
            tenant,
            user,
        )
        await shop.commit(user, "fast", 1)
        page = (await client.get(EAI, headers=dict(shop.headers))).json()
        assert page["transactions"] == []
    finally:
        await late.commit()
    page = (await client.get(EAI, headers=dict(shop.headers))).json()
    assert [transaction["transactionid"] for transaction in page["transactions"]] == ["slow", "fast"]


async def test_a_strangers_long_transaction_hides_nothing(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, rows: asyncpg.Connection, tenant: str
) -> None:
    """Nor does one of the ledger's own that waits for a lock: it takes its time when it has it."""
    user, locked = await platform.user_with(100), await platform.user_with(100)
    long = rows.transaction()
    await long.start()
    try:
        await rows.execute(
            "SELECT FROM points_ledger.accounts WHERE tenant = $1 AND user_id = $2 FOR UPDATE", tenant, locked
        )
        waiting = asyncio.create_task(shop.commit(locked, "late", 1))
        async with asyncio.timeout(20):
            while not await rows.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
        assert (await shop.commit(user, "fast", 1)).status_code == 200
        page = (await client.get(EAI, headers=dict(shop.headers))).json()
        assert [transaction["transactionid"] for transaction in page["transactions"]] == ["fast"]
        cursor = page["resume_cursor"]
    finally:
        await long.commit()
    assert (await waiting).status_code == 200
    page = (await client.get(EAI, params={"cursor": cursor}, headers=dict(shop.headers))).json()
    assert [transaction["transactionid"] for transaction in page["transactions"]] == ["late"]


async def test_verify_agrees_while_all_is_well_and_names_all_accounts_that_differ(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, ledger_url: str, tenant: str
) -> None:
    users = [await platform.user_with(100) for _ in range(3)]
    for user in users:
        await shop.commit(user, user, 40)
        await shop.confirm(user, user)
    assert (await verify(ledger_url)).differences == []

    change = "UPDATE points_ledger.accounts SET available = available + $3 WHERE tenant = $1 AND user_id = $2"
    for user in users:
        await rows.execute(change, tenant, user, 1)
    try:
        differences = (await verify(ledger_url)).differences
        first = (await verify(ledger_url, at_most=1)).differences
    finally:
        for user in users:
            await rows.execute(change, tenant, user, -1)
    assert len(differences) == 3
    for user, difference in zip(sorted(users), differences, strict=True):
        assert f"account {user} of tenant {tenant}: its total is 61, but its entries add up to 60" in difference
    assert first == differences[:1]


async def test_verify_compares_each_transaction_with_its_entries(
    platform: Platform, shop: Vendor, rows: asyncpg.Connection, ledger_url: str, tenant: str
) -> None:
    """Also where two of them make up for each other, and where nothing but a word or a time is another."""
    user = await platform.user_with(100)
    for name in ("a", "b"):
        await shop.commit(user, name, 20)
        await shop.confirm(user, name)
    await shop.refund(user, "a", "r", 3)

    async def told(change: str) -> list[str]:
        await rows.execute(
            "CREATE TEMP TABLE kept AS SELECT * FROM points_ledger.transactions WHERE tenant = $1", tenant
        )
        await rows.execute(f"UPDATE points_ledger.transactions SET {change} WHERE tenant = $1", tenant)  # noqa: S608
        try:
            return (await verify(ledger_url)).differences
        finally:
            await rows.execute(
                "UPDATE points_ledger.transactions t SET deducted = k.deducted, refunded = k.refunded,"
                " description = k.description, ended_at = k.ended_at FROM kept k"
                " WHERE t.tenant = k.tenant AND t.vendor_id = k.vendor_id AND t.transaction_id = k.transaction_id"
            )
            await rows.execute("DROP TABLE kept")

    swapped = await told("deducted = CASE transaction_id WHEN 'a' THEN 19 ELSE 20 END")
    assert any(
        "transaction a of vendor shop" in line and "it deducted 19, but its entries say 20" in line for line in swapped
    )
    moved = await told("refunded = CASE transaction_id WHEN 'a' THEN 0 ELSE 3 END")
    assert [line.split(":")[1] for line in moved] == [
        " it gave back 0, but its entries say 3",
        " it gave back 3, but its entries say 0",
    ]
    assert all("another reason" in line for line in await told("description = 'a cup'"))
    assert all("another time" in line for line in await told("ended_at = ended_at + interval '1 ms'"))
    assert (await verify(ledger_url)).differences == []


async def test_of_equal_lines_the_first_is_booked_however_many_stand_between(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    """Both lanes of the writing line are at work on an import."""
    user = await platform.user_with(0)
    body = {"user_id": user, "reason": "x"}
    lines = [{**body, "points": 1 + number // 40, "reference": f"r-{number % 40}"} for number in range(120)]
    answer = await client.post(
        "/v1/credits/import",
        content=b"\n".join(orjson.dumps(line) for line in lines),
        headers={**platform.headers, "Content-Type": "application/x-ndjson"},
    )
    *outcomes, last = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == [201] * 40 + [409] * 80
    assert last == {"summary": {"lines": 120, "credited": 40, "repeated": 0, "refused": 80}}
    assert await platform.balance(user) == (40, 0)


async def test_an_import_answers_every_line_and_the_good_ones_land(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    user, other = await platform.user_with(0), await platform.user_with(0)
    lines = [
        f'{{"user_id":"{user}","points":5,"reference":"a","reason":"x"}}',
        "not json",
        f'{{"user_id":"{other}","points":7,"reference":"a","reason":"x"}}',
        '{"user_id":"nobody","points":7,"reference":"a","reason":"x"}',
        f'{{"user_id":"{user}","points":-1,"reference":"b","reason":"x"}}',
        "",
        f'{{"user_id":"{user}","points":5,"reference":"a","reason":"x"}}',
        f'{{"user_id":"{user}","points":6,"reference":"a","reason":"x"}}',
    ]
    answer = await client.post(
        "/v1/credits/import",
        content="\n".join(lines).encode(),
        headers={**platform.headers, "Content-Type": "application/x-ndjson"},
    )
    *outcomes, last = [httpx.Response(200, content=line).json() for line in answer.content.splitlines()]
    assert last == {"summary": {"lines": 7, "credited": 2, "repeated": 1, "refused": 4}}
    assert [(o["line"], o["status"], o.get("code")) for o in outcomes] == [
        (1, 201, None),
        (2, 400, "malformed_request"),
        (3, 201, None),
        (4, 404, "account_not_found"),
        (5, 400, "malformed_request"),
        (7, 200, None),
        (8, 409, "reference_mismatch"),
    ]
    assert await platform.balance(user) == (5, 0)
    assert await platform.balance(other) == (7, 0)
