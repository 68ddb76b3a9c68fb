"""What happened in a run: calls with their answers, faults, and what the ledger said when all was quiet again.

A history is data alone. It is written to a file and read from it, so that a failing run can be looked at later.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

Outcome = Literal["ok", "fail", "info"]


class TransactionKey(NamedTuple):
    """The id belongs to the vendor: two vendors may use the same one."""

    vendor: str
    transaction: str


@dataclass(slots=True)
class Call:
    """One request of a client, or a copy of it that the network has made.

    Args:
        process: who asked.
        operation: `commit`, `confirm`, `rollback`, `refund`, `look_up`, `credit`, `debit` or `balance`.
        began, ended: places in the order of all beginnings and ends; without an answer there is no end.
        began_at, ended_at: seconds since 1970, by the clock that the database has too.
        status: of the answer; None where none came.
        body: of the answer.
    """

    number: int
    process: str
    operation: str
    began: int
    began_at: float
    vendor: str = ""
    transaction: str = ""
    user: str = ""
    points: int | None = None
    #: Of a refund, a credit or a debit.
    reference: str = ""
    key: str = ""
    ended: int | None = None
    ended_at: float | None = None
    status: int | None = None
    replayed: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """`info`: it may have happened, may happen later, or never."""
        if self.status is None or self.status >= 500:
            return "info"
        return "ok" if self.status < 300 else "fail"

    @property
    def subject(self) -> TransactionKey:
        return TransactionKey(self.vendor, self.transaction)

    def __str__(self) -> str:
        asked = " ".join(
            str(part)
            for part in (self.operation, self.vendor, self.transaction, self.user, self.points, self.reference)
            if part not in ("", None)
        )
        key = f" key={self.key}" if self.key else ""
        if self.status is None:
            told = "no answer"
        else:
            members = ("code", "state", "points", "available", "held", "expiresat", "pointsdeducted", "pointsrefunded")
            told = " ".join(
                [str(self.status), *(f"{name}={self.body[name]}" for name in members if name in self.body)]
                + (["replayed"] if self.replayed else [])
            )
        end = "…" if self.ended is None else str(self.ended)
        return f"{self.began:>7} – {end:<7} {self.process:<10} {asked}{key}  →  {told}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to the system, for the reader of a history; no check looks at it."""

    at: int
    what: str


@dataclass(slots=True)
class History:
    """A run.

    Args:
        calls: also the last look at every transaction, whose process is `auditor`.
        accounts: user → the account at the end.
        statements: user → all entries, oldest first.
        feeds: who read → all events that they see, in their order, read at the end. `platform` is the platform.
        followed: ids of the events that a reader saw while the run went on, in its order.
        verified: the differences that the ledger's own recomputation named.
    """

    seed: int = 0
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    statements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    feeds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    followed: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)

    @property
    def indeterminate(self) -> int:
        return sum(call.outcome == "info" for call in self.calls)

    def by_transaction(self) -> dict[TransactionKey, list[Call]]:
        found: dict[TransactionKey, list[Call]] = {}
        for call in self.calls:
            if call.transaction:
                found.setdefault(call.subject, []).append(call)
        return found

    def save(self, path: Path) -> None:
        """Writes one JSON line for each call and fault, and a last one for all else."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for line in self._lines():
                file.write(json.dumps(line, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> "History":
        history = cls()
        with path.open() as file:
            for line in file:
                ((kind, found),) = json.loads(line).items()
                if kind == "call":
                    history.calls.append(Call(**found))
                elif kind == "fault":
                    history.faults.append(Fault(**found))
                else:
                    setattr(history, kind, found)
        return history

    def _lines(self) -> Iterator[dict[str, Any]]:
        yield from ({"call": asdict(call)} for call in self.calls)
        yield from ({"fault": asdict(fault)} for fault in self.faults)
        for name in ("seed", "accounts", "statements", "feeds", "followed", "verified"):
            yield {name: getattr(self, name)}


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that a history breaks, with the shortest excerpt that shows it."""

    what: str
    excerpt: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((self.what, *(f"    {line}" for line in self.excerpt)))
