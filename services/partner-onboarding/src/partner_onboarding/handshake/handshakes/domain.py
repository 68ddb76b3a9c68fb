"""What a handshake is, who may use its code, and how the way back to the partner looks."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlencode

from shared.errors import Conflict, Gone, Malformed, NotFound

from partner_onboarding.characters import hides_something

BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CODE_CHARACTERS: Final = 22
LIFETIME: Final = timedelta(hours=1)
#: How long after the person has come back the partner may ask for the user by the private code.
REDEEMABLE_FOR: Final = timedelta(hours=1)
MAX_HINT_CHARACTERS: Final = 100

CODE: Final = re.compile(rf"[{BASE58}]{{{CODE_CHARACTERS}}}", re.ASCII)
#: Two digits at a time take half the divisions.
_PAIRS: Final = tuple(one + other for one in BASE58 for other in BASE58)
_VEILED: Final = "•••"

Outcome = Literal["linked", "denied"]
Failure = Literal["access_denied", "could_not_connect_athlete_to_partner"]


class UnknownCode(Malformed):
    """Never given out, or not a code at all: both look the same."""

    code = "unknown_register_code"


class ForeignCode(Malformed):
    """The person is signed in at another tenant than the partner's."""

    code = "foreign_register_code"


class UsedCode(Gone):
    code = "register_code_used"


class ExpiredCode(Gone):
    code = "register_code_expired"


class PartnerGone(Gone):
    """The partner was taken out of use since the code was given out: nobody is sent there any more."""

    code = "partner_not_available"


class MalformedHint(Malformed):
    code = "malformed_hint"


class MalformedAuthorizationCode(Malformed):
    code = "malformed_authorization_code"


class HandshakeNotFound(NotFound):
    """No handshake of this partner has this private code."""

    code = "handshake_not_found"


class HandshakeNotCompleted(Conflict):
    code = "handshake_not_completed"


class HandshakeRedeemed(Conflict):
    code = "handshake_already_redeemed"


class HandshakeExpired(Gone):
    code = "handshake_expired"


@dataclass(frozen=True, slots=True)
class Codes:
    """A new handshake as its partner sees it, once."""

    register_code: str
    authorization_code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake as the tables hold it, and its partner."""

    tenant: str
    tenant_name: str
    client_id: str
    partner_name: str
    partner_is_there: bool
    landing_url: str | None
    register_hash: bytes
    sealed_code: bytes
    hint: str | None
    expires_at: datetime
    user_id: str | None
    outcome: Outcome | None


def new_code() -> str:
    """22 base58 characters drawn evenly: 128.9 bits."""
    number = secrets.randbelow(58**CODE_CHARACTERS)
    pairs = []
    for _ in range(CODE_CHARACTERS // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "".join(pairs)


def check_usable(handshake: Handshake, now: datetime, *, by: str | None, denied_is_fine: bool = False) -> None:
    """Whether this person may go on with the handshake.

    The person who used the code up may come again until it expires: a second click on the same button, or an
    answer that was lost, leads to the same end.

    Args:
        by: the user who asks, or None for somebody who is not signed in.
        denied_is_fine: whoever refuses may say so twice.

    Raises:
        PartnerGone, ExpiredCode, UsedCode
    """
    if not handshake.partner_is_there:
        raise PartnerGone("This partner does not take registrations any more.")
    is_anothers = handshake.user_id is not None and handshake.user_id != by
    if is_anothers or (handshake.outcome == "denied" and not denied_is_fine):
        raise UsedCode("This registration code was used already.")
    if handshake.expires_at <= now:
        raise ExpiredCode("This registration code has expired.")


def landing(
    url: str, *, authorization_code: str | None = None, user_id: str | None = None, error: Failure | None = None
) -> str:
    """The partner's landing URL with what is to be carried there; its own query stays as it is."""
    told = {"authorizationCode": authorization_code, "error": error, "userId": user_id}
    carried = urlencode({name: value for name, value in told.items() if value is not None})
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return f"{url}{joint}{carried}"


def masked(hint: str) -> str:
    """What a partner says of the person whom it asks for, with all but the beginnings veiled.

    `erika@example.com` → `e•••@example.com`, `Erika Mustermann` → `E••• M•••`: enough for that person, and for
    somebody else who was sent the link, to see for whom it is meant; too little to be worth keeping secret.

    Raises:
        MalformedHint: empty, too long, or with characters that do not show.
    """
    text = hint.strip()
    if not text or len(text) > MAX_HINT_CHARACTERS or hides_something(text):
        raise MalformedHint(f"A hint has 1 to {MAX_HINT_CHARACTERS} printable characters.")
    local, at, domain = text.rpartition("@")
    if at and local and " " not in text:
        return f"{local[0]}{_VEILED}@{domain}"
    return " ".join(word[0] + _VEILED for word in text.split()[:4])
