"""Handshakes: their codes, the rules for using them, and the way back to the partner."""

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
#: How long after the person's return the partner may redeem the private code.
REDEEMABLE_FOR: Final = timedelta(hours=1)
MAX_HINT_CHARACTERS: Final = 100

CODE: Final = re.compile(rf"[{BASE58}]{{{CODE_CHARACTERS}}}", re.ASCII)
#: Two digits at a time need half the divisions.
_PAIRS: Final = tuple(one + other for one in BASE58 for other in BASE58)
_PLACES: Final = {pair: place for place, pair in enumerate(_PAIRS)}
_VEILED: Final = "•••"

Outcome = Literal["linked", "denied"]
Failure = Literal["access_denied", "could_not_connect_athlete_to_partner"]


class UnknownCode(Malformed):
    """The code was never given out, or it is no code; both look the same."""

    code = "unknown_register_code"


class ForeignCode(Malformed):
    """The person is signed in at a tenant that is not the partner's."""

    code = "foreign_register_code"


class UsedCode(Gone):
    code = "register_code_used"


class ExpiredCode(Gone):
    code = "register_code_expired"


class PartnerGone(Gone):
    """The partner was disabled after it got the code; nobody is sent there any more."""

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
    """The codes of a new handshake, shown to its partner once."""

    register_code: str
    authorization_code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Handshake:
    """A stored handshake with its partner."""

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
    """A code of 22 uniformly random base58 characters: 128.9 bits."""
    return base58(secrets.randbelow(58**CODE_CHARACTERS), CODE_CHARACTERS)


def base58(number: int, characters: int) -> str:
    """The last characters of a number, an even count of them."""
    pairs = []
    for _ in range(characters // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "".join(pairs)


def number_in(text: str) -> int:
    """The number of which `base58` made a text."""
    number = 0
    for place in range(len(text) - 2, -1, -2):
        number = number * len(_PAIRS) + _PLACES[text[place : place + 2]]
    return number


def check_usable(handshake: Handshake, now: datetime, *, by: str | None, denied_is_fine: bool = False) -> None:
    """Checks that this person may go on with the handshake.

    The person who used the code may come again until it expires, so that a second click or a lost answer leads to the
    same end.

    Args:
        by: the signed-in user, or None.
        denied_is_fine: a refused handshake may be refused again.

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
    """The partner's landing URL with added parameters; its own query stays unchanged."""
    told = {"authorizationCode": authorization_code, "error": error, "userId": user_id}
    carried = urlencode({name: value for name, value in told.items() if value is not None})
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return f"{url}{joint}{carried}"


def masked(hint: str) -> str:
    """A partner's hint at the person, with everything but the beginnings hidden.

    `erika@example.com` → `e•••@example.com`, `Erika Mustermann` → `E••• M•••`: enough for a reader of the link to see
    for whom it is meant, and too little to be worth protecting.

    Raises:
        MalformedHint: it is empty or too long, or has invisible characters.
    """
    text = hint.strip()
    if not text or len(text) > MAX_HINT_CHARACTERS or hides_something(text):
        raise MalformedHint(f"A hint has 1 to {MAX_HINT_CHARACTERS} printable characters.")
    local, at, domain = text.rpartition("@")
    if at and local and " " not in text:
        return f"{local[0]}{_VEILED}@{domain}"
    return " ".join(word[0] + _VEILED for word in text.split()[:4])
