"""Bugs that are put into a copy of the ledger, each of which the checker must find.

A mutant names pieces of the present source, letter by letter. Where one of them has moved or stands there twice, it
fails loudly: a mutant that changes nothing would prove nothing.
"""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: What the ledger's processes import from the copy.
PACKAGES: Final = ("points_ledger", "shared")


class Moved(Exception):
    """A piece of the source is not there, or more than once."""


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of a file and what stands in its place."""

    file: str
    piece: str
    instead: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug, by its name and what it does.

    Args:
        needs_standby: it does harm only where a standby takes over.
    """

    name: str
    bug: str
    changes: tuple[Change, ...]
    needs_standby: bool = False


def _mutant(name: str, bug: str, file: str, piece: str, instead: str) -> Mutant:
    return Mutant(name, bug, (Change(file, piece, instead),))


_LEDGER, _BATCH = "points_ledger/ledger.py", "points_ledger/batches.py"
_RULES = "points_ledger/domain/decisions.py"
_STATEMENTS = "points_ledger/statements.py"
_DATABASE, _TRANSACTION, _LINE = "shared/db.py", "shared/raw_batches.py", "shared/group_commit.py"

MUTANTS: Final = (
    _mutant(
        "no-idempotency",
        "a repeat with the same Idempotency-Key is carried out as if it were new",
        _BATCH,
        "        if rows.answer is None or order.key is None:\n",
        "        if order.command is not None:\n",
    ),
    _mutant(
        "no-lock",
        "accounts are read without a lock, and written with what they were",
        _STATEMENTS,
        "\n                   FOR NO KEY UPDATE OF a) AS locked\n",
        ") AS locked\n",
    ),
    _mutant(
        "confirm-after-rollback",
        "what was rolled back is deducted all the same",
        _RULES,
        "        case State.ROLLED_BACK:\n            return Decision(_rolled_back(transaction))\n",
        """\
        case State.ROLLED_BACK if found.account is not None and found.account.available >= transaction.points:
            again = found.account.with_more(available=-transaction.points, held=transaction.points)
            return _deduct(command, transaction, again, now)
        case State.ROLLED_BACK:
            return Decision(_rolled_back(transaction))
""",
    ),
    _mutant(
        "no-tombstone",
        "a rollback that overtakes its commit is forgotten",
        _RULES,
        "        return Decision(_missing(command, cancelled), transaction=cancelled)\n",
        "        return Decision(_missing(command, cancelled))\n",
    ),
    Mutant(
        "clock-of-the-process",
        "the process's clock decides what has expired, and not the database's",
        (
            Change(_BATCH, "from datetime import datetime\n", "from datetime import UTC, datetime\n"),
            Change(_BATCH, "    batch = Batch(\n", "    now = datetime.now(UTC)\n    batch = Batch(\n"),
        ),
    ),
    _mutant(
        "answer-before-commit",
        "the answer leaves before COMMIT",
        _LEDGER,
        """\
            async with self._database.raw_batch(*store.locking(users, tenant)) as transaction:
                batch = await batches.gather(transaction, users, tenant, orders, rows)
                results = [batch.carry_out(*one) for one in zip(orders, rows, strict=True)]
                await batches.keep(transaction, batch)
""",
        """\
            opened = self._database.raw_batch(*store.locking(users, tenant))
            transaction = await opened.__aenter__()
            try:
                batch = await batches.gather(transaction, users, tenant, orders, rows)
                results = [batch.carry_out(*one) for one in zip(orders, rows, strict=True)]
                await batches.keep(transaction, batch)
            except BaseException as error:
                await opened.__aexit__(type(error), error, error.__traceback__)
                raise
            __import__("asyncio").ensure_future(opened.__aexit__(None, None, None))
""",
    ),
    _mutant(
        "lost-commit-is-done",
        "a COMMIT whose answer was lost counts as done",
        _DATABASE,
        """\
                driver.terminate()
                if isinstance(error, Exception):
                    raise OutcomeUnknown from error
                raise
""",
        """\
                driver.terminate()
                if isinstance(error, Exception):
                    return
                raise
""",
    ),
    _mutant(
        "lost-commit-is-repeated",
        "a batch whose COMMIT was lost is carried out once more",
        _LINE,
        "            except OutcomeUnknown as error:\n                return _refuse(batch, error)\n",
        "",
    ),
    _mutant(
        "refunds-without-lock",
        "refunds at once give back more than was deducted",
        _LEDGER,
        "            async with self._database.raw_batch(*store.locking(users, tenant)) as transaction:\n",
        """\
            locking, named = store.locking(users, tenant)
            if any(type(order.command).__name__ == "Refund" for order in orders):
                locking = locking.replace("FOR NO KEY UPDATE OF a", "")
            async with self._database.raw_batch(locking, named) as transaction:
""",
    ),
    _mutant(
        "hold-counted-twice",
        "a commit that comes again holds its points again",
        _RULES,
        """\
                return Decision(_mismatch(transaction, "pointstodeduct"))
            return Decision(transaction, repeated=True)
""",
        """\
                return Decision(_mismatch(transaction, "pointstodeduct"))
            if found.account is not None and found.account.available >= transaction.points:
                twice = found.account.with_more(available=-transaction.points, held=transaction.points)
                return Decision(transaction, twice, repeated=True)
            return Decision(transaction, repeated=True)
""",
    ),
    _mutant(
        "rest-stays-held",
        "a confirm of a part does not release the rest",
        _RULES,
        "        available=transaction.points - points,\n        held=-transaction.points,\n",
        "        available=0,\n        held=-points,\n",
    ),
    _mutant(
        "asynchronous-commit",
        "synchronous_commit is off, and the database is killed",
        _TRANSACTION,
        '_ONLY_FOR_A_BATCH: Final = "',
        '_ONLY_FOR_A_BATCH: Final = "SET LOCAL synchronous_commit = off; ',
    ),
    Mutant(
        "repeat-from-a-read",
        "a repeat is answered from what can be read, which a standby may not have yet",
        (
            Change(
                _LEDGER,
                "        deadline = 0.0\n        while True:\n",
                """\
        if order.key is not None:
            key = rows_of(order).answer
            async with self._database.raw_statement() as connection:
                kept = (await store.read_answers(connection, {key}, None)).get(key)
            if kept is not None and order.key.fits(kept.fingerprint):
                return Answer.replay(kept.answer)
        deadline = 0.0
        while True:
""",
            ),
        ),
        needs_standby=True,
    ),
    _mutant(
        "expiry-untold",
        "a hold that ends while its account is used has no event",
        _BATCH,
        "                self._tell(seen.tenant, transaction_moved(seen))\n",
        "",
    ),
)


def copy_sources(directory: Path) -> None:
    """The packages as they are, for a mutant to change."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, directory / package, ignore=shutil.ignore_patterns("__pycache__"))


def apply(mutant: Mutant, directory: Path) -> None:
    """Puts a bug into a copy.

    Raises:
        Moved: the source is not what the mutant expects.
    """
    for change in mutant.changes:
        path = directory / change.file
        text = path.read_text()
        if text.count(change.piece) != 1:
            raise Moved(f"{mutant.name}: {change.file} has {text.count(change.piece)} times:\n{change.piece}")
        path.write_text(text.replace(change.piece, change.instead))
