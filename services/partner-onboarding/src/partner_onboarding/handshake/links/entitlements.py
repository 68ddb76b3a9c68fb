"""What a person may do because partners have activated him or her."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from partner_onboarding.handshake.links.domain import Link
from partner_onboarding.handshake.links.periods import period_start, periods_due


@dataclass(frozen=True, slots=True)
class WriteAccess:
    """The end of the last month that a partner pays for; from that instant on there is none."""

    until: datetime
    partner_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A partner's plan: as long as the link is active."""

    partner_id: str
    name: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What activations give at an instant."""

    write_access: WriteAccess | None
    plans: tuple[Plan, ...]


def entitlements_at(now: datetime, links: Sequence[tuple[str, Link]]) -> Entitlements:
    """What `links`, each with its partner's name, give at `now`.

    A month that has begun is the person's to its end, also after the link was removed. Which months have begun follows
    from the activation alone: it does not wait for the chore that writes them down.
    """
    access: list[WriteAccess] = []
    plans: list[Plan] = []
    for name, link in links:
        if link.activated_at is None:
            continue
        begun = periods_due(link.activated_at, 0, link.removed_at or now)
        until = period_start(link.activated_at, max(len(begun), 1))
        if now < until:
            access.append(WriteAccess(until, link.client_id))
        if link.removed_at is None:
            plans.append(Plan(link.client_id, name, link.activated_at))
    return Entitlements(
        max(access, key=lambda one: (one.until, one.partner_id), default=None),
        tuple(sorted(plans, key=lambda plan: (plan.since, plan.partner_id))),
    )
