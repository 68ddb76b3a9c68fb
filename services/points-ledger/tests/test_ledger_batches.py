"""What waits together is decided as if it had come one by one, and kept so: random batches against the model."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import orjson
import pytest
from points_ledger import batches, statements
from points_ledger.domain.accounts import Post
from points_ledger.domain.decisions import Command
from points_ledger.domain.transactions import Commit, Confirm, Refund, Rollback
from points_ledger.holds import releasing
from points_ledger.holds.releasing import Releasing
from points_ledger.ledger import Ledger
from points_ledger.orders import Order, Settled
from points_ledger.store import AccountKey
from shared.db import Database
from shared.idempotency import Answer, IdempotencyKeyReused, RequestKey

from .adding_up import what_does_not_add_up
from .ledger_model import IDS, NOBODY, USERS, VENDORS, Model, Redemption, Told, told
from .parties import Platform

BATCHES, COMMANDS = 25, 16
WEEK = timedelta(days=7)


@pytest.fixture(params=[False, True], ids=["of several tenants", "of one tenant"])
async def ledger(ledger_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    """With one lane: what is handed in together is one batch, in its order."""
    database = Database(ledger_url, pool_size=2)
    is_distributed: bool = request.param
    releasing = Releasing(database, is_distributed=is_distributed)
    ledger = Ledger(database, releasing, lanes=1, is_distributed=is_distributed)
    yield ledger
    await ledger.close()
    await database.dispose()


def told_over_the_wire(settled: Settled) -> Answer:
    is_told = told(settled.outcome)
    return Answer.of(200, [is_told.code, is_told.state, is_told.points, is_told.field])


class Player:
    """Makes up commands, mostly about what is there, some with idempotency keys that come again."""

    def __init__(self, seed: int, tenant: str) -> None:
        self.chance = random.Random(seed)  # noqa: S311 — not a secret
        self.tenant = tenant
        self.model = Model()
        self.kept: dict[str, tuple[Command, Told]] = {}
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def command(self) -> Command:
        choose, tenant = self.chance.choice, self.tenant
        user, key = choose([*USERS, *USERS, NOBODY]), (choose(VENDORS), choose(IDS))
        known = self.model.redemptions.get(key)
        if known is not None and self.chance.random() < 0.8:
            user = known.user
        points = (
            known.points if known is not None and known.points and self.chance.random() < 0.7 else choose([1, 5, 9])
        )
        match choose(["commit", "commit", "confirm", "rollback", "refund", "post", "sweep"]):
            case "commit":
                return Commit(tenant, *key, user, points, "a mug", WEEK)
            case "confirm":
                return Confirm(tenant, *key, user, choose([None, points]))
            case "rollback":
                return Rollback(tenant, *key, user)
            case "refund":
                return Refund(tenant, *key, user, choose(IDS), choose([1, 2]))
            case _:
                return Post(tenant, user, choose([2, 4, -2]), choose(IDS), "because")

    def order(self) -> tuple[Order, Told | type[IdempotencyKeyReused]]:
        """The next thing to ask, and what must be answered."""
        if self.kept and self.chance.random() < 0.15:
            name = self.chance.choice(sorted(self.kept))
            command = self.kept[name][0] if self.chance.random() < 0.7 else self.command()
        else:
            command = self.command()
            name = f"key-{len(self.kept)}" if self.chance.random() < 0.4 else ""
        if not name:
            return Order(command, told_over_the_wire), self.model.told(command, self.now)
        order = Order(command, told_over_the_wire, "client", RequestKey(name, repr(command).encode()))
        if name not in self.kept:
            self.kept[name] = (command, self.model.told(command, self.now))
        first, answer = self.kept[name]
        return order, answer if first == command else IdempotencyKeyReused

    def running_out(self) -> list[tuple[tuple[str, str], Redemption]]:
        """Some holds, whose time comes now."""
        held = [(key, r) for key, r in self.model.redemptions.items() if r.state_at(self.now) == "held"]
        return [(key, r) for key, r in held if self.chance.random() < 0.2]


@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_does_what_its_commands_would_do_one_by_one(
    seed: int, ledger: Ledger, rows: asyncpg.Connection, tenant: str, ledger_url: str
) -> None:
    player = Player(seed, tenant)
    await open_accounts(player, ledger, rows)

    for _ in range(BATCHES):
        asked = [player.order() for _ in range(COMMANDS)]
        await play(ledger, asked)
        await run_out(player, rows)

    await all_is_as_in_the_model(player, ledger_url, rows)


async def test_tenants_that_ask_at_once_have_nothing_to_do_with_each_other(
    ledger: Ledger, rows: asyncpg.Connection, tenant: str, ledger_url: str
) -> None:
    """Their users, vendors, transactions and keys have the same names."""
    players = [Player(seed, f"{tenant}-{seed}") for seed in range(3)]
    for player in players:
        await open_accounts(player, ledger, rows)

    for _ in range(BATCHES):
        await play(ledger, [player.order() for _ in range(COMMANDS // 2) for player in players])
        for player in players:
            await run_out(player, rows)

    for player in players:
        await all_is_as_in_the_model(player, ledger_url, rows)


async def play(ledger: Ledger, asked: Sequence[tuple[Order, Told | type[IdempotencyKeyReused]]]) -> None:
    """Asks all at once, and holds each answer against what it must be."""
    answers = await asyncio.gather(*(ledger.carry_out(order) for order, _ in asked), return_exceptions=True)
    for (order, expected), answer in zip(asked, answers, strict=True):
        if isinstance(expected, Told):
            assert isinstance(answer, Answer), answer
            assert Told(*orjson.loads(answer.body)) == expected, order.command
        else:
            assert isinstance(answer, expected), order.command


@pytest.mark.parametrize("seed", range(3))
async def test_an_account_with_more_expired_holds_than_a_batch_releases_answers_no_differently(
    seed: int,
    ledger: Ledger,
    rows: asyncpg.Connection,
    tenant: str,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One by one, since a command that waits for its account lets others pass."""
    monkeypatch.setattr(statements, "DUE", (1,))
    monkeypatch.setattr(statements, "READ_BATCH", {1: statements.read_batch_with(1)})
    monkeypatch.setattr(batches, "_DUE_ADDED_UP", 3 * (seed % 2))
    monkeypatch.setattr(releasing, "LOOK", 3)
    monkeypatch.setattr(releasing, "SLICE", 2)
    player = Player(seed, tenant)
    await open_accounts(player, ledger, rows)

    for _ in range(BATCHES):
        for order, expected in [player.order() for _ in range(COMMANDS)]:
            try:
                answer = await ledger.carry_out(order)
            except IdempotencyKeyReused:
                assert expected is IdempotencyKeyReused
            else:
                assert Told(*orjson.loads(answer.body)) == expected, order.command
        await run_out(player, rows)
    await all_is_as_in_the_model(player, ledger_url, rows)


async def open_accounts(player: Player, ledger: Ledger, rows: asyncpg.Connection) -> None:
    tenant = player.tenant
    for user in USERS:
        player.model.posts[user] = {}
        await rows.execute("INSERT INTO points_ledger.accounts VALUES ($1, $2, 0, 0, 0, now())", tenant, user)
        await ledger.carry_out(Order(Post(tenant, user, 10, "first", ""), told_over_the_wire))
        player.model.told(Post(tenant, user, 10, "first", ""), player.now)


async def run_out(player: Player, rows: asyncpg.Connection) -> None:
    for (vendor, name), redemption in player.running_out():
        redemption.expires_at = player.now
        await rows.execute(
            "UPDATE points_ledger.transactions SET expires_at = clock_timestamp()"
            " WHERE tenant = $1 AND vendor_id = $2 AND transaction_id = $3",
            player.tenant, vendor, name,
        )  # fmt: skip


async def all_is_as_in_the_model(player: Player, ledger_url: str, rows: asyncpg.Connection) -> None:
    tenant = player.tenant
    database = Database(ledger_url)
    for user in USERS:
        await Releasing(database).settle(AccountKey(tenant, user), math.inf, keep_out=False)
    await database.dispose()
    assert await what_does_not_add_up(rows, tenant) == []
    found = await rows.fetch(
        "SELECT vendor_id, transaction_id, state FROM points_ledger.transactions WHERE tenant = $1", tenant
    )
    assert {(row[0], row[1]): row[2] for row in found} == {
        key: redemption.state_at(player.now) for key, redemption in player.model.redemptions.items()
    }
    balances = await rows.fetch("SELECT user_id, available, held FROM points_ledger.accounts WHERE tenant = $1", tenant)
    assert {row[0]: (row[1], row[2]) for row in balances} == {
        user: (player.model.available(user, player.now), player.model.held(user, player.now)) for user in USERS
    }


async def test_an_account_that_was_there_already_is_acknowledged_by_a_write(
    platform: Platform, rows: asyncpg.Connection
) -> None:
    user = await platform.user_with(0)
    question = "SELECT xmax::text FROM points_ledger.accounts WHERE user_id = $1"
    before = await rows.fetchval(question, user)

    again = await platform.client.put(f"/v1/accounts/{user}", headers=platform.headers)

    assert again.status_code == 200
    assert await rows.fetchval(question, user) != before
