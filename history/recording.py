"""Writes down what the clients ask and are answered."""

import itertools
import time
from collections.abc import Mapping
from typing import Any

from history.network import Answer
from history.records import Call, Fault, History


class Recorder:
    """The history of a run while it grows. One event loop writes it, so that its order is the real one."""

    def __init__(self, seed: int) -> None:
        self.history = History(seed)
        self._places = itertools.count(1)
        self._by_number: dict[int, Call] = {}

    def begin(self, process: str, operation: str, asked: Mapping[str, Any]) -> Call:
        """Before the request leaves."""
        number = len(self.history.calls)
        call = Call(number, process, operation, next(self._places), time.time(), **asked)
        self.history.calls.append(call)
        return call

    def end(self, call: Call, answer: Answer | None) -> None:
        """After the answer has come, or nobody waits for it any more."""
        if answer is None:
            return
        call.ended, call.ended_at = next(self._places), time.time()
        call.status, call.replayed = answer.status, answer.replayed
        call.body = answer.body if isinstance(answer.body, dict) else {"body": answer.body}

    def copied(self, number: int) -> None:
        """The network sends a request once more: what comes of the copy nobody hears."""
        call = self.history.calls[number]
        if call.operation in ("look_up", "balance"):
            return
        asked = {name: getattr(call, name) for name in ("vendor", "transaction", "user", "points", "reference", "key")}
        self.begin(f"{call.process}'", call.operation, asked)

    def fault(self, what: str) -> None:
        self.history.faults.append(Fault(next(self._places), what))
