"""The checks check: each bug that is put into the ledger here is found by the model, or by the race."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from points_ledger import statements
from points_ledger.domain.decisions import Command, Decision, Found, decide
from points_ledger.domain.transactions import Commit, Confirm, Refund, Rollback, State
from points_ledger.holds.releasing import Releasing
from points_ledger.ledger import Ledger
from points_ledger.orders import Order, Settled
from shared.db import Database
from shared.errors import Refusal
from shared.idempotency import Answer
from shared.tenant_statements import Statement

from .adding_up import what_does_not_add_up
from .ledger_model import Decide, machine_of

#: The same play each time: a bug that is found once is found always.
PLAY = settings(
    max_examples=300,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def without_idempotency(command: Command, found: Found, now: datetime) -> Decision:
    """A commit that comes again holds again."""
    if isinstance(command, Commit) and found.transaction is not None and found.transaction.state is State.HELD:
        return decide(command, found._replace(transaction=None), now)
    return decide(command, found, now)


def without_tombstone(command: Command, found: Found, now: datetime) -> Decision:
    """A rollback that overtakes its commit is forgotten."""
    decision = decide(command, found, now)
    if isinstance(command, Rollback) and found.transaction is None:
        return decision._replace(transaction=None)
    return decision


def confirming_after_a_rollback(command: Command, found: Found, now: datetime) -> Decision:
    """What was released is deducted all the same."""
    transaction, account = found.transaction, found.account
    if (
        isinstance(command, Confirm)
        and transaction is not None
        and transaction.state is State.ROLLED_BACK
        and account is not None
        and account.available >= transaction.points
    ):
        held_again = account._replace(
            available=account.available - transaction.points, held=account.held + transaction.points
        )
        still_held = transaction._replace(state=State.HELD, ended_at=None)
        return decide(command, found._replace(transaction=still_held, account=held_again), now)
    return decide(command, found, now)


def holding_after_a_no(command: Command, found: Found, now: datetime) -> Decision:
    """A late duplicate holds points after the shop has said no."""
    if isinstance(command, Commit) and found.transaction is not None and found.transaction.state is State.REJECTED:
        return decide(command, found._replace(transaction=None), now)
    return decide(command, found, now)


def refunding_again(command: Command, found: Found, now: datetime) -> Decision:
    """The refund's id is not looked at."""
    return decide(command, found._replace(entry=None) if isinstance(command, Refund) else found, now)


def holding_for_ever(command: Command, found: Found, now: datetime) -> Decision:
    """Confirms what has run out, as long as nobody has swept."""
    transaction = found.transaction
    if isinstance(command, Confirm) and transaction is not None and transaction.state is State.EXPIRED:
        found = found._replace(transaction=transaction._replace(state=State.HELD, ended_at=None))
    return decide(command, found, now)


@pytest.mark.parametrize(
    "wrong",
    [
        without_idempotency,
        without_tombstone,
        confirming_after_a_rollback,
        holding_after_a_no,
        refunding_again,
        holding_for_ever,
    ],
)
def test_the_model_finds_each_wrong_rule(wrong: Decide) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_of(wrong), settings=settings(PLAY, max_examples=3000))


@pytest.fixture(scope="module")
def ledger_url(spoilt_url: str) -> str:
    return spoilt_url


@pytest.fixture
async def ledgers(ledger_url: str) -> AsyncIterator[list[Ledger]]:
    """Two, as of two processes, with many small batches under way at once."""
    databases = [Database(ledger_url, pool_size=4) for _ in range(2)]
    ledgers = [Ledger(database, Releasing(database), lanes=LANES, batch_size=4) for database in databases]
    yield ledgers
    for ledger, database in zip(ledgers, databases, strict=True):
        await ledger.close()
        await database.dispose()


#: Of each of the two ledgers.
LANES = 3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def what_a_race_breaks(ledgers: list[Ledger], rows: asyncpg.Connection, tenant: str) -> list[str]:
    """A hundred commits for more than an account has; what is wrong afterwards.

    Somebody has the account until a batch of each lane waits for it: with the lock all wait before they read, without
    it after they have read.
    """
    await rows.execute("INSERT INTO points_ledger.accounts VALUES ($1, 'ann', 1000, 0, 1, now())", tenant)
    await rows.execute(
        "INSERT INTO points_ledger.entries VALUES ($1, 'ann', 1, 'credit', 1000, 1000, '', 'r', '', now())", tenant
    )

    def told(settled: Settled) -> Answer:
        return Answer(400 if isinstance(settled.outcome, Refusal) else 200, b"")

    commits = (Commit(tenant, "shop", f"t-{n}", "ann", 30, "a mug", timedelta(days=1)) for n in range(100))
    async with rows.transaction():
        await rows.execute("SELECT FROM points_ledger.accounts WHERE tenant = $1 FOR UPDATE", tenant)
        answering = asyncio.gather(
            *(ledgers[n % 2].carry_out(Order(command, told)) for n, command in enumerate(commits)),
            return_exceptions=True,
        )
        while await rows.fetchval(WAITING) < len(ledgers) * LANES:
            # Within a transaction the server would show what it has shown before.
            await rows.execute("SELECT pg_stat_clear_snapshot()")
    answers = await answering
    held = sum(isinstance(answer, Answer) and answer.status == 200 for answer in answers)
    wrong = [] if held == 33 else [f"{held} commits of 30 points hold, of 1000"]
    return wrong + await what_does_not_add_up(rows, tenant)


async def test_the_race_finds_nothing_wrong_with_the_ledger_as_it_is(
    ledgers: list[Ledger], rows: asyncpg.Connection, tenant: str
) -> None:
    assert await what_a_race_breaks(ledgers, rows, tenant) == []


async def test_the_race_finds_a_ledger_that_reads_before_it_writes_without_a_lock(
    ledgers: list[Ledger], rows: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = statements.LOCK_ACCOUNTS
    without_lock = Statement(*(text.replace("FOR NO KEY UPDATE OF a", "") for text in as_it_is))
    assert without_lock.of_one_tenant != as_it_is.of_one_tenant
    monkeypatch.setattr(statements, "LOCK_ACCOUNTS", without_lock)

    assert await what_a_race_breaks(ledgers, rows, tenant) != []
