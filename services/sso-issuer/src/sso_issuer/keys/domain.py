"""The life of a signing key: next → active → retiring → retired.

A key is published in the tenant's key set as `next`, signs as `active`, stays published as `retiring` until the
last token that it signed has expired, and leaves the set as `retired`. Of one tenant and algorithm there is at
most one `next` and one `active` key. Every function here is pure; the clock is the database's and handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

#: How long a key set may be remembered by whoever fetched it (`Cache-Control: max-age`).
KEY_SET_LIFETIME = timedelta(seconds=300)

#: From publishing a key to signing with it. A minute above the key set's lifetime, because a replica may itself
#: answer with a set that is a few seconds old, and clocks of caches round.
PUBLISHED_AHEAD = KEY_SET_LIFETIME + timedelta(seconds=60)

#: The longest lifetime of anything signed with these keys; a retiring key stays published that long.
LONGEST_TOKEN = timedelta(hours=1)


class Algorithm(StrEnum):
    """The algorithms of key pairs. Vendors may also ask for HS256, see `sso_issuer.vendors`."""

    ES256 = "ES256"
    RS256 = "RS256"


class KeyState(StrEnum):
    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known of a key without its private half."""

    tenant: str
    kid: str
    algorithm: Algorithm
    state: KeyState
    published_at: datetime
    #: The promise made when it was published: not before this instant does it sign.
    signs_from: datetime
    activated_at: datetime | None = None
    retiring_at: datetime | None = None
    published_until: datetime | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When keys change of themselves."""

    rotate_every: timedelta
    publish_ahead: timedelta = PUBLISHED_AHEAD
    keep_published: timedelta = LONGEST_TOKEN


def issuer_of(public_url: str, tenant: str) -> str:
    """The tenant's authority, the `iss` of its tokens: no tenant can speak to another tenant's vendor."""
    return f"{public_url}/tenants/{tenant}"


def advance(keys: Sequence[Key], now: datetime, schedule: Schedule) -> list[Key]:
    """The keys of one tenant and algorithm as they are at `now`: whatever time alone moves has moved.

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
    """Whether a new key must be published now so that it can take over from the active one in time."""
    if any(key.state is KeyState.NEXT for key in keys):
        return False
    active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
    if active is None or active.activated_at is None:
        return False
    return active.activated_at + schedule.rotate_every - schedule.publish_ahead <= now


def publish(keys: Sequence[Key], fresh: Key, now: datetime, schedule: Schedule) -> list[Key]:
    """Adds `fresh` as the next key; where one is waiting already, that one stays and `fresh` is not used.

    The very first key of a tenant and algorithm signs at once: there is no earlier key that could sign meanwhile,
    and no set of this tenant that could lack it.
    """
    if any(key.state is KeyState.NEXT for key in keys):
        return list(keys)
    if not any(key.state is KeyState.ACTIVE for key in keys):
        return [*keys, _activate(replace(fresh, published_at=now, signs_from=now), now)]
    waiting = replace(fresh, state=KeyState.NEXT, published_at=now, signs_from=now + schedule.publish_ahead)
    return [*keys, waiting]


def replace_at_once(keys: Sequence[Key], fresh: Key, now: datetime, schedule: Schedule) -> list[Key]:
    """An emergency: a key signs from now on although caches may not know it; the former one only verifies.

    A key that is already waiting is taken before `fresh`, for its being published longer.
    """
    waiting = next((key for key in keys if key.state is KeyState.NEXT), None)
    if waiting is not None:
        return _hand_over(keys, replace(waiting, signs_from=now), now, schedule)
    return _hand_over([*keys, fresh], replace(fresh, published_at=now, signs_from=now), now, schedule)


def revoke_all(keys: Sequence[Key], fresh: Key, now: datetime) -> list[Key]:
    """Private keys have leaked: every key leaves the set now, also the waiting one, and `fresh` signs alone."""
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
