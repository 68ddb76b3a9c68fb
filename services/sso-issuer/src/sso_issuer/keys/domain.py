"""The life of a signing key: next → active → retiring → retired.

A key is published in the tenant's key set as `next`, signs as `active`, stays published as `retiring` until its last
token has expired, and leaves the set as `retired`. A tenant has at most one `next` and one `active` key for each
algorithm. Every function here is pure and gets the database's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

#: How long a verifier may cache a key set (`Cache-Control: max-age`).
KEY_SET_LIFETIME = timedelta(seconds=300)

#: The time between publishing a key and signing with it: the key set's lifetime and a minute, since a replica may
#: answer with a set that is a few seconds old, and clocks of caches round.
PUBLISHED_AHEAD = KEY_SET_LIFETIME + timedelta(seconds=60)

#: The longest life of anything signed with these keys; a retiring key stays published that long.
LONGEST_TOKEN = timedelta(hours=1)


class Algorithm(StrEnum):
    """The algorithms of key pairs. Redirect tokens may also be signed by HS256, with a secret of the vendor."""

    ES256 = "ES256"
    RS256 = "RS256"


class KeyState(StrEnum):
    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key without its private half."""

    tenant: str
    kid: str
    algorithm: Algorithm
    state: KeyState
    published_at: datetime
    #: The key signs from this instant on, and not before.
    signs_from: datetime
    activated_at: datetime | None = None
    retiring_at: datetime | None = None
    published_until: datetime | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The times at which keys change by themselves."""

    rotate_every: timedelta
    publish_ahead: timedelta = PUBLISHED_AHEAD
    keep_published: timedelta = LONGEST_TOKEN


def issuer_of(public_url: str, tenant: str) -> str:
    """The tenant's authority, the `iss` of its tokens: no tenant can speak to another tenant's vendor."""
    return f"{public_url}/tenants/{tenant}"


def advance(keys: Sequence[Key], now: datetime, schedule: Schedule) -> list[Key]:
    """The keys of one tenant and algorithm at `now`, after all changes that only time causes.

    A `next` whose time has come takes over from the `active` one; a `retiring` one whose last token has expired
    is retired. Applying it again at the same instant changes nothing.
    """
    ready = next((key for key in keys if key.state is KeyState.NEXT and key.signs_from <= now), None)
    moved = list(keys) if ready is None else _hand_over(keys, ready, now, schedule)
    return [
        _retire(key, now)
        if key.state is KeyState.RETIRING and key.published_until is not None and key.published_until <= now
        else key
        for key in moved
    ]


def is_rotation_due(keys: Sequence[Key], now: datetime, schedule: Schedule) -> bool:
    """Whether a successor must be published now to take over in time."""
    if any(key.state is KeyState.NEXT for key in keys):
        return False
    active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
    if active is None or active.activated_at is None:
        return False
    return active.activated_at + schedule.rotate_every - schedule.publish_ahead <= now


def publish(keys: Sequence[Key], fresh: Key, now: datetime, schedule: Schedule) -> list[Key]:
    """Adds `fresh` as the next key. If one is waiting already, it stays and `fresh` is not used.

    The first key of a tenant and algorithm signs at once: no earlier key could sign meanwhile, and no cached set of
    this tenant could lack it.
    """
    if any(key.state is KeyState.NEXT for key in keys):
        return list(keys)
    if not any(key.state is KeyState.ACTIVE for key in keys):
        return [*keys, _activate(replace(fresh, published_at=now, signs_from=now), now)]
    waiting = replace(fresh, state=KeyState.NEXT, published_at=now, signs_from=now + schedule.publish_ahead)
    return [*keys, waiting]


def replace_at_once(keys: Sequence[Key], fresh: Key, now: datetime, schedule: Schedule) -> list[Key]:
    """For an emergency: a key signs from now on although caches may not know it; the former one only verifies.

    A waiting key is preferred to `fresh`, since it has been published longer.
    """
    waiting = next((key for key in keys if key.state is KeyState.NEXT), None)
    if waiting is not None:
        return _hand_over(keys, replace(waiting, signs_from=now), now, schedule)
    return _hand_over([*keys, fresh], replace(fresh, published_at=now, signs_from=now), now, schedule)


def revoke_all(keys: Sequence[Key], fresh: Key, now: datetime) -> list[Key]:
    """For leaked private keys: every key leaves the set now, also the waiting one, and `fresh` signs alone."""
    gone = [key if key.state is KeyState.RETIRED else _retire(key, now) for key in keys]
    return [*gone, _activate(replace(fresh, published_at=now, signs_from=now), now)]


def _hand_over(keys: Sequence[Key], successor: Key, now: datetime, schedule: Schedule) -> list[Key]:
    moved = []
    for key in keys:
        if key.kid == successor.kid:
            moved.append(_activate(successor, now))
        elif key.state is KeyState.ACTIVE:
            until = now + schedule.keep_published
            moved.append(replace(key, state=KeyState.RETIRING, retiring_at=now, published_until=until))
        else:
            moved.append(key)
    return moved


def _activate(key: Key, now: datetime) -> Key:
    return replace(key, state=KeyState.ACTIVE, activated_at=now)


def _retire(key: Key, now: datetime) -> Key:
    return replace(key, state=KeyState.RETIRED, retired_at=now)
