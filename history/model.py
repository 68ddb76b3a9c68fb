"""One transaction of a vendor as a small state machine: the table of the contract, written once more.

Nothing of the ledger's own code is used here. It would make the same mistakes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from history.records import Call


class Redemption(NamedTuple):
    """A transaction that has happened."""

    state: str
    user: str
    points: int = 0
    deducted: int = 0
    #: (id, points) of each, in the order of their ids.
    refunds: tuple[tuple[str, int], ...] = ()

    @property
    def refunded(self) -> int:
        return sum(points for _, points in self.refunds)


class Told(NamedTuple):
    """An answer, as far as the model says what it must be. None: says nothing, or is left out."""

    status: int
    code: str = ""
    state: str | None = None
    points: int | None = None
    deducted: int | None = None
    refunded: int | None = None


Step = tuple[Told, Redemption | None]


def told_by(call: Call) -> Told:
    """What the caller was told."""
    body = call.body
    status = call.status or 0
    points: int | None = None
    if status < 300:
        points = body.get("pointsrequested" if call.operation == "look_up" else "points")
    return Told(
        status,
        body.get("code", ""),
        body.get("state"),
        points,
        body.get("pointsdeducted"),
        body.get("pointsrefunded"),
    )


def steps(call: Call, now: Redemption | None) -> Iterator[Step]:
    """Every answer that the contract allows to a call in this state, with the state after it."""
    match call.operation:
        case "commit":
            return _commit(call, now)
        case "confirm":
            return _confirm(call, now)
        case "rollback":
            return _roll_back(call, now)
        case "refund":
            return _refund(call, now)
        case "look_up":
            return _look_up(now)
        case _:
            raise ValueError(f"no operation of a transaction: {call.operation}")


def _no(now: Redemption, status: int, code: str) -> Step:
    return Told(status, code, now.state), now


def _commit(call: Call, now: Redemption | None) -> Iterator[Step]:
    points = call.points or 0
    if now is None:
        yield Told(200, "", "held", points), Redemption("held", call.user, points)
        yield Told(400, "insufficient_points", "rejected"), Redemption("rejected", call.user, points)
    elif now.state == "held":
        if (now.user, now.points) != (call.user, points):
            yield _no(now, 409, "transaction_mismatch")
        else:
            yield Told(200, "", "held", points), now
    elif now.state == "rejected":
        yield _no(now, 400, "insufficient_points")
    else:
        codes = {"confirmed": "points_already_deducted", "expired": "hold_expired"}
        yield _no(now, 409, codes.get(now.state, "transaction_rolled_back"))


def _confirm(call: Call, now: Redemption | None) -> Iterator[Step]:
    if now is None:
        yield Told(404, "transaction_not_found"), None
    elif now.state == "cancelled":
        yield _no(now, 409, "transaction_rolled_back")
    elif now.user != call.user:
        yield _no(now, 409, "transaction_mismatch")
    elif now.state == "held":
        points = now.points if call.points is None else call.points
        if points > now.points:
            yield _no(now, 409, "transaction_mismatch")
        else:
            yield Told(200, "", "confirmed", points), now._replace(state="confirmed", deducted=points)
    else:
        codes = {
            "confirmed": "points_already_deducted",
            "rolled_back": "transaction_rolled_back",
            "expired": "hold_expired",
            "rejected": "transaction_rejected",
        }
        yield _no(now, 409, codes[now.state])


def _roll_back(call: Call, now: Redemption | None) -> Iterator[Step]:
    if now is None or now.state == "cancelled":
        # Remembered, so that a commit which arrives late holds nothing.
        yield Told(404, "transaction_not_found", "cancelled"), now or Redemption("cancelled", call.user)
    elif now.user != call.user:
        yield _no(now, 409, "transaction_mismatch")
    elif now.state == "held":
        yield Told(200, "", "rolled_back", now.points), now._replace(state="rolled_back")
    else:
        code = "points_already_deducted" if now.state == "confirmed" else "no_points_to_roll_back"
        yield _no(now, 409, code)


def _refund(call: Call, now: Redemption | None) -> Iterator[Step]:
    points = call.points or 0
    if now is None:
        yield Told(404, "transaction_not_found"), None
    elif now.state == "cancelled":
        yield _no(now, 404, "transaction_not_found")
    elif now.user != call.user:
        yield _no(now, 409, "transaction_mismatch")
    elif now.state != "confirmed":
        yield _no(now, 409, "transaction_not_confirmed")
    elif call.reference in dict(now.refunds):
        if dict(now.refunds)[call.reference] != points:
            yield _no(now, 409, "transaction_mismatch")
        else:
            yield Told(200, "", "confirmed", points), now
    elif now.refunded + points > now.deducted:
        yield _no(now, 409, "refund_exceeds_deduction")
    else:
        refunds = tuple(sorted((*now.refunds, (call.reference, points))))
        yield Told(200, "", "confirmed", points), now._replace(refunds=refunds)


def _look_up(now: Redemption | None) -> Iterator[Step]:
    if now is None:
        yield Told(404, "transaction_not_found"), None
    else:
        yield Told(200, "", now.state, now.points, now.deducted, now.refunded), now


def final_body(redemption: Redemption) -> dict[str, Any]:
    """How a look-up shows it; for histories that are written by hand."""
    return {
        "state": redemption.state,
        "pointsrequested": redemption.points,
        "pointsdeducted": redemption.deducted,
        "pointsrefunded": redemption.refunded,
    }
