"""What the JSON twins of the pages look like."""

from datetime import UTC, datetime
from typing import Any

from rewards_shop.catalogue import REWARDS
from rewards_shop.orders import Order
from rewards_shop.sessions import Session
from rewards_shop.store import Balance
from rewards_shop.texts import text
from rewards_shop.tokens import Visitor


def instant(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as the platform writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def visit_json(visitor: Visitor, points: int, csrf_token: str) -> dict[str, Any]:
    return {"user": _user_json(visitor), "points": points, "csrf_token": csrf_token}


def catalogue_json(session: Session, balance: Balance, orders: list[Order], lang: str) -> dict[str, Any]:
    return {
        **visit_json(session.visitor, balance.points, session.csrf_token),
        "points_as_of": instant(balance.as_of),
        "rewards": [
            {
                "reward_id": reward.reward_id,
                "name": text(f"reward.{reward.reward_id}.name", lang),
                "description": text(f"reward.{reward.reward_id}.text", lang),
                "points": reward.points,
                "affordable": reward.points <= balance.points,
            }
            for reward in REWARDS.values()
        ],
        "orders": [{"order_id": order.order_id, "outcome": order.outcome} for order in orders],
    }


def order_json(order: Order, balance: Balance, lang: str) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "reward_id": order.reward_id,
        "reward": text(f"reward.{order.reward_id}.name", lang),
        "points": order.points,
        "placed_at": instant(order.placed_at),
        "outcome": order.outcome,
        "state": order.state.value,
        "finished": order.finished,
        "reason": order.reason or None,
        "message": outcome_text(order, "text", lang),
        "steps": [
            {
                "step": step.name,
                "result": step.result,
                "at": instant(step.at),
                "call": step.call or None,
                "answer": step.answer or None,
                "attempts": step.attempts,
            }
            for step in order.steps
        ],
        "balance": balance.points,
        "balance_as_of": instant(balance.as_of),
    }


def outcome_text(order: Order, part: str, lang: str) -> str:
    """The `title` or `text` of how the order came out; too few points has words of its own."""
    too_few = order.reason == "insufficient_points"
    return text(f"outcome.{'insufficient' if too_few else order.outcome}.{part}", lang)


def _user_json(visitor: Visitor) -> dict[str, str]:
    return {
        "userid": visitor.user_id,
        "firstname": visitor.firstname,
        "lastname": visitor.lastname,
        "email": visitor.email,
    }
