"""What a second factor is, and which codes fit.

The shared secret has 160 random bits, a code six digits and thirty seconds (RFC 6238 with the parameters that every
authenticator app knows). A code is good once: the step that it was made for must be later than the last one that was
used, so that nobody gets in with a code read over a shoulder.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import pyotp
from shared.errors import Conflict, TooManyRequests, Unauthenticated

STEP_SECONDS: Final = 30
#: Clocks of telephones may be off by a step.
_STEPS_AROUND: Final = (0, -1, 1)
RECOVERY_CODES: Final = 10
#: Without characters that read alike.
_RECOVERY_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_RECOVERY_CHARACTERS: Final = 12
_MAX_GIVEN: Final = 40

#: What a session still waits for: a code, or that the person sets a second factor up.
Awaits = Literal["code", "enrolment"]


class WrongCode(Unauthenticated):
    """Neither a code of this moment nor an unused recovery code."""

    code = "wrong_code"


class TooManyWrongCodes(TooManyRequests):
    """Somebody who knows the password tries codes out."""

    code = "too_many_attempts"


class SecondFactorExists(Conflict):
    """The account has a second factor; remove it before setting up another."""

    code = "second_factor_exists"


class NoSecondFactor(Conflict):
    """The account has no second factor, or has not begun to set one up."""

    code = "no_second_factor"


class SecondFactorNeeded(Conflict):
    """An account with a role cannot be without a second factor here."""

    code = "second_factor_needed"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor that is being set up; shown to its owner alone.

    Args:
        secret: base32, for typing.
        uri: `otpauth://…`, for a QR code.
    """

    secret: str
    uri: str


@dataclass(frozen=True, slots=True)
class State:
    """What the account page shows."""

    is_set_up: bool
    recovery_codes_left: int


def new_secret() -> str:
    """160 random bits in base32."""
    return str(pyotp.random_base32())


def enrolment_of(secret: str, *, account: str, issuer: str) -> Enrolment:
    """How the secret gets into an authenticator app.

    Args:
        account: under which the app lists it, such as the e-mail address.
        issuer: the name of the site.
    """
    uri = pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)
    return Enrolment(secret, str(uri))


def fitting_step(secret: str, given: str, now: datetime, *, after: int) -> int | None:
    """The step of time that the code belongs to, later than `after`; None for a code that does not fit."""
    code = "".join(given.split())
    if len(code) != 6 or not code.isascii() or not code.isdecimal():
        return None
    totp, present = pyotp.TOTP(secret), int(now.timestamp()) // STEP_SECONDS
    for step in (present + around for around in _STEPS_AROUND):
        if step > after and hmac.compare_digest(totp.at(step * STEP_SECONDS), code):
            return step
    return None


def new_recovery_codes() -> list[str]:
    """Codes for the day on which the telephone is gone: `abcd-efgh-jkmn`, some 59 random bits each."""
    return [
        "-".join(
            "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_CHARACTERS // 3)) for _ in range(3)
        )
        for _ in range(RECOVERY_CODES)
    ]


def recovery_hash(key: bytes, tenant: str, user_id: str, given: str) -> bytes | None:
    """A recovery code as it is kept, bound to its owner; None for a text that is none.

    Keyed, since the database alone must not be enough to try codes out.
    """
    if len(given) > _MAX_GIVEN:
        return None
    code = "".join(mark for mark in given.lower() if mark not in "- ")
    if len(code) != _RECOVERY_CHARACTERS or any(mark not in _RECOVERY_ALPHABET for mark in code):
        return None
    return hmac.digest(key, "\n".join((tenant, user_id, code)).encode(), hashlib.sha256)
