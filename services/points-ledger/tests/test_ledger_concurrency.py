"""Two real processes over one database: of many at once exactly the right ones win, and the sums stay right."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister
from platform_testing.processes import ServiceProcess, network_client

from .adding_up import what_does_not_add_up
from .parties import Platform, Vendor


@pytest.fixture(scope="module")
def register(network_register: FakeRegister) -> FakeRegister:
    return network_register


@pytest.fixture(scope="module")
async def clients(ledgers: list[ServiceProcess]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """One of each process."""
    await asyncio.gather(*(ledger.keep_up() for ledger in ledgers))
    clients = [network_client(ledger.url) for ledger in ledgers]
    yield clients
    for client in clients:
        await client.aclose()


@pytest.fixture
async def rows(own_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_url)
    yield connection
    await connection.close()


@pytest.fixture
def client(clients: list[httpx.AsyncClient]) -> httpx.AsyncClient:
    return clients[0]


@pytest.fixture
def shops(clients: list[httpx.AsyncClient], register: FakeRegister, tenant: str) -> list[Vendor]:
    """One vendor, at both processes."""
    headers = register.add(tenant, "points:redeem", vendor_id="shop")
    return [Vendor(client, headers) for client in clients]


@pytest.fixture
async def adds_up(
    rows: asyncpg.Connection, tenant: str, own_postgres: EmbeddedPostgres
) -> AsyncIterator[asyncpg.Connection]:
    """Whatever a test has done: afterwards every sum is right, and nobody has waited in a circle."""
    seen = own_postgres.log.stat().st_size
    yield rows
    assert await what_does_not_add_up(rows, tenant) == []
    assert b"deadlock detected" not in own_postgres.log.read_bytes()[seen:]


def told(answers: list[httpx.Response]) -> Counter[tuple[int, str]]:
    """(status, code or state) → how many were told so."""
    return Counter((a.status_code, a.json().get("code") or a.json()["state"]) for a in answers)


pytestmark = pytest.mark.usefixtures("adds_up")


async def test_of_a_hundred_equal_commits_one_holds_and_all_are_told_the_same(
    shops: list[Vendor], platform: Platform
) -> None:
    user = await platform.user_with(1000)

    answers = await asyncio.gather(*(shops[n % 2].commit(user, "t", 40) for n in range(100)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert await platform.balance(user) == (960, 40)


async def test_of_a_hundred_commits_of_one_id_for_two_users_one_users_hold(
    shops: list[Vendor], platform: Platform
) -> None:
    """No account's lock is between them: the one row of the id decides."""
    users = [await platform.user_with(1000) for _ in range(2)]

    answers = await asyncio.gather(
        *(shops[n % 2].commit(users[n // 2 % 2], "t", 40) for n in range(100)),
    )

    assert told(answers) == {(200, "held"): 50, (409, "transaction_mismatch"): 50}
    assert sorted([await platform.balance(user) for user in users]) == [(960, 40), (1000, 0)]


async def test_of_a_hundred_commits_of_one_id_over_different_points_one_amount_is_held(
    shops: list[Vendor], platform: Platform
) -> None:
    user = await platform.user_with(10_000)

    answers = await asyncio.gather(*(shops[n % 2].commit(user, "t", 1 + n) for n in range(100)))

    assert told(answers) == {(200, "held"): 1, (409, "transaction_mismatch"): 99}
    points = next(answer.json()["points"] for answer in answers if answer.status_code == 200)
    assert await platform.balance(user) == (10_000 - points, points)


async def test_a_commit_and_its_rollback_at_once_never_strand_points(shops: list[Vendor], platform: Platform) -> None:
    user = await platform.user_with(1000)

    async def both(number: int) -> frozenset[tuple[int, str]]:
        first, second = random.sample(shops, 2)
        calls = [first.commit(user, f"t-{number}", 10), second.rollback(user, f"t-{number}")]
        random.shuffle(calls)
        return frozenset(told(list(await asyncio.gather(*calls))))

    outcomes = set(await asyncio.gather(*(both(number) for number in range(50))))

    commit_first = frozenset({(200, "held"), (200, "rolled_back")})
    rollback_first = frozenset({(404, "transaction_not_found"), (409, "transaction_rolled_back")})
    assert outcomes <= {commit_first, rollback_first}
    assert await platform.balance(user) == (1000, 0)


async def test_of_a_hundred_confirms_and_rollbacks_of_one_hold_exactly_one_wins(
    shops: list[Vendor], platform: Platform
) -> None:
    for turn in range(2):
        user = await platform.user_with(100)
        await shops[0].commit(user, f"t-{turn}", 40)
        calls = [shops[n // 2 % 2].confirm(user, f"t-{turn}") for n in range(50)]
        calls += [shops[n // 2 % 2].rollback(user, f"t-{turn}") for n in range(50)]
        random.shuffle(calls)

        answers = told(list(await asyncio.gather(*calls)))

        confirmed = {(200, "confirmed"): 1, (409, "points_already_deducted"): 99}
        rolled_back = {
            (200, "rolled_back"): 1,
            (409, "transaction_rolled_back"): 50,
            (409, "no_points_to_roll_back"): 49,
        }
        assert answers in (confirmed, rolled_back)
        assert await platform.balance(user) == ((60, 0) if answers == confirmed else (100, 0))


async def test_of_a_hundred_commits_for_more_than_there_is_exactly_as_many_hold_as_fit(
    shops: list[Vendor], platform: Platform
) -> None:
    user = await platform.user_with(1000)

    answers = await asyncio.gather(*(shops[n % 2].commit(user, f"t-{n}", 30) for n in range(100)))

    assert told(answers) == {(200, "held"): 33, (400, "insufficient_points"): 67}
    assert await platform.balance(user) == (10, 990)


async def test_everything_at_once_on_one_account_never_spends_a_point_twice(
    shops: list[Vendor], platform: Platform
) -> None:
    """Holds, confirms, credits and debits race for the same points, in both processes."""
    user = await platform.user_with(500)

    async def redeem(number: int) -> int:
        shop = shops[number % 2]
        if (await shop.commit(user, f"t-{number}", 20)).status_code != 200:
            return 0
        end = await (shop.confirm(user, f"t-{number}") if number % 3 else shop.rollback(user, f"t-{number}"))
        assert end.status_code == 200
        return 20 if number % 3 else 0

    async def debit() -> int:
        return 15 if (await platform.debit(user, 15)).status_code == 201 else 0

    async def credit() -> int:
        assert (await platform.credit(user, 5)).status_code == 201
        return -5

    taken = await asyncio.gather(
        *itertools.chain(
            (redeem(number) for number in range(60)),
            (debit() for _ in range(30)),
            (credit() for _ in range(20)),
        )
    )

    assert await platform.balance(user) == (500 - sum(taken), 0)


async def test_refunds_at_once_never_give_back_more_than_was_deducted(shops: list[Vendor], platform: Platform) -> None:
    user = await platform.user_with(100)
    await shops[0].commit(user, "t", 95)
    await shops[0].confirm(user, "t")

    answers = await asyncio.gather(*(shops[n % 2].refund(user, "t", f"r-{n}", 10) for n in range(60)))

    assert told(answers) == {(200, "confirmed"): 9, (409, "refund_exceeds_deduction"): 51}
    assert await platform.balance(user) == (95, 0)


async def test_of_a_hundred_equal_credits_one_is_booked(clients: list[httpx.AsyncClient], platform: Platform) -> None:
    user = await platform.user_with(0)
    platforms = [Platform(client, platform.headers) for client in clients]

    answers = await asyncio.gather(*(platforms[n % 2].credit(user, 7, "r") for n in range(100)))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 99}
    assert await platform.balance(user) == (7, 0)


async def test_of_a_hundred_with_one_key_one_acts_whichever_process_they_reach(
    shops: list[Vendor], platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shops[0].commit(user, "t", 40)

    answers = await asyncio.gather(*(shops[n % 2].confirm(user, "t", 30, key="k") for n in range(100)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert await platform.balance(user) == (70, 0)


async def test_an_account_that_is_opened_by_many_at_once_is_opened_once(
    clients: list[httpx.AsyncClient], platform: Platform
) -> None:
    answers = await asyncio.gather(
        *(clients[n % 2].put("/v1/accounts/new", headers=platform.headers) for n in range(40))
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 39}


async def test_an_expired_hold_is_released_once_whoever_comes_first(
    shops: list[Vendor], platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    """Confirms, rollbacks, new commits and a sweep race for a hold whose time has come."""
    for turn in range(3):
        user = await platform.user_with(100)
        await shops[0].commit(user, f"t-{turn}", 100)
        await rows.execute(
            "UPDATE points_ledger.transactions SET expires_at = clock_timestamp() WHERE tenant = $1 AND state = 'held'"
            " AND transaction_id = $2",
            tenant, f"t-{turn}",
        )  # fmt: skip
        confirms = [shops[n % 2].confirm(user, f"t-{turn}") for n in range(10)]
        rollbacks = [shops[n % 2].rollback(user, f"t-{turn}") for n in range(10)]
        commits = [shops[n % 2].commit(user, f"next-{turn}-{n}", 30) for n in range(10)]
        calls = confirms + rollbacks + commits
        random.shuffle(calls)

        answers = told(list(await asyncio.gather(*calls)))

        assert answers == {
            (409, "hold_expired"): 10,
            (409, "no_points_to_roll_back"): 10,
            (200, "held"): 3,
            (400, "insufficient_points"): 7,
        }
        assert await platform.balance(user) == (10, 90)
