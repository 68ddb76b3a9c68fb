"""What the client makes of the answer to its books: the findings, or another question where the answer broke off."""

import json

import pytest
from points_client.exchanges import Answer, Pause, Request, Unanswered
from points_client.reconciliation import Entry, Reconciliation, reconcile

FINDING = json.dumps({"finding": "only_yours", "transactionid": "o-1", "yours": {"state": "confirmed", "points": 5}})
SUMMARY = json.dumps({"summary": {"yours": 1, "agreed": 0, "only_yours": 1}})


def play(*answers: str) -> tuple[Reconciliation, list[bytes], list[str]]:
    """What comes of these answers, with the bodies and the paths that were sent."""
    exchange = reconcile(iter([Entry("o-1", "confirmed", 5)]), since="2026-11-01T00:00:00+01:00")
    left, bodies, paths = list(answers), [], []
    told: Answer | None = None
    try:
        while True:
            match exchange.send(told):
                case Request(path=path, lines=file):
                    assert file is not None
                    file.seek(0)
                    bodies.append(file.read())
                    paths.append(path)
                    told = Answer(200, {}, left.pop(0).encode())
                case Pause():
                    told = None
    except StopIteration as done:
        return done.value, bodies, paths


def test_findings_and_summary_are_told_apart() -> None:
    found, (body,), (path,) = play(f"{FINDING}\n{SUMMARY}\n")
    assert [one["finding"] for one in found.findings] == ["only_yours"]
    assert found.summary["only_yours"] == 1
    assert json.loads(body) == {"transactionid": "o-1", "state": "confirmed", "points": 5}
    assert path == "/eai/v1/reconciliations?since=2026-11-01T00%3A00%3A00%2B01%3A00"


def test_an_answer_that_broke_off_is_no_answer_and_the_whole_list_is_sent_again() -> None:
    found, bodies, _ = play(f"{FINDING}\n", f"{FINDING}\n{SUMMARY[:9]}", f"{FINDING}\n{SUMMARY}\n")
    assert found.summary["yours"] == 1
    assert len(set(bodies)) == 1
    assert len(bodies) == 3


def test_without_a_whole_answer_nothing_is_claimed() -> None:
    with pytest.raises(Unanswered):
        play("", "", "")
