"""Links in mails that do something once. What they carry lies in the mail alone; its digest lies with the mail."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.errors import Gone
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.tables import mails

#: A person gets so many links of one kind a day at most, and none within a minute of another.
LINKS_A_DAY: Final = 10
PAUSE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
# The tenant, and 256 random bits.
_TOKEN: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,39})\.([A-Za-z0-9_-]{43})", re.ASCII)


class UnknownMailedLink(Gone):
    """The link was never mailed, was used, or is too old. All look the same."""

    code = "unknown_link"


@dataclass(frozen=True, slots=True)
class LinkToken:
    """What the link carries. Only its digest is kept, and that leads to the mail that it went out with."""

    tenant: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Mailed:
    """The mail that a link went out with."""

    user_id: str
    #: A sealed address, where the mail went to another than the user's present one.
    recipient: bytes | None


def new_token(tenant: str) -> tuple[str, bytes]:
    """A token for a mail, and its digest."""
    token = f"{tenant}.{secrets.token_urlsafe(32)}"
    return token, _digest(token)


def read_token(token: str) -> LinkToken:
    """Raises UnknownMailedLink for what is no token of ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise UnknownMailedLink("This link was never mailed to anybody.")
    return LinkToken(found[1], _digest(token))


async def may_mail(connection: AsyncConnection, tenant: str, user_id: str, kind: Kind, now: datetime) -> bool:
    """Whether the person may be mailed another link of this kind now."""
    row = (
        await connection.execute(
            select(func.count().filter(mails.c.created_at > now - PAUSE), func.count()).where(
                mails.c.tenant == tenant,
                mails.c.user_id == user_id,
                mails.c.kind == kind,
                mails.c.created_at > now - _DAY,
            )
        )
    ).one()
    return int(row[0]) == 0 and int(row[1]) < LINKS_A_DAY


async def find(connection: AsyncConnection, token: LinkToken, kind: Kind, lifetime: timedelta) -> Mailed | None:
    """The mail of this link, while the link is good; time is the database's."""
    mailed_at = func.coalesce(mails.c.sent_at, mails.c.created_at)
    row = (
        await connection.execute(
            select(mails.c.user_id, mails.c.recipient).where(
                mails.c.tenant == token.tenant,
                mails.c.token_hash == token.digest,
                mails.c.kind == kind,
                mailed_at > func.now() - lifetime,
            )
        )
    ).one_or_none()
    return None if row is None else Mailed(row.user_id, row.recipient)


async def end(connection: AsyncConnection, tenant: str, user_id: str, kind: Kind) -> None:
    """Ends all links of this kind of a person, and those whose mails still wait."""
    await connection.execute(
        update(mails)
        .where(mails.c.tenant == tenant, mails.c.user_id == user_id, mails.c.kind == kind)
        .values(token_hash=None, next_attempt_at=None)
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
