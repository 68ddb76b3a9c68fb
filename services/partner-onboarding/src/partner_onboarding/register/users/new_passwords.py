"""Rules for new passwords after NIST SP 800-63B-4: long, and not among the first guesses.

The one rule for passwords: of people, of a tenant's back end, and of the command line. It asks nothing about the
characters, and no password has to be changed without a reason.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from shared.texts import UnfitText, normal_form
from zxcvbn import zxcvbn

from partner_onboarding.characters import is_text
from partner_onboarding.register.users.domain import (
    MAX_EMAIL_CHARACTERS,
    MAX_PASSWORD_CHARACTERS,
    MalformedUser,
)

#: NIST's minimum if the password is the only factor.
MIN_NEW_PASSWORD_CHARACTERS: Final = 15
#: The least score on zxcvbn's scale from 0 to 4: at least 10^10 guesses.
_LEAST_SCORE: Final = 4
#: Only the first characters are judged: long texts take long, and a strong beginning is strong enough.
_JUDGED_CHARACTERS: Final = 32
#: How many characters must remain beside the person's own name and address.
_LEAST_OWN_LETTERS: Final = 6
_LETTER: Final = re.compile(r"[^\W\d_]")
#: Words that an attacker tries early and the library, which knows English, does not know.
_NEAR_AT_HAND: Final = (
    *("passwort", "kennwort", "geheim", "hallo", "mein", "meine", "willkommen", "schatz", "sommer", "winter"),
    *("punkte", "points", "meinepunkte", "mypoints", "deutschland", "fussball", "schalke", "qwertz", "qwertzuiop"),
)


class UnfitPassword(MalformedUser):
    """`code` says why: `password_too_short`, `password_too_long`, `password_unprintable`, `password_guessable`."""

    code = "password_guessable"
    further_codes = ("password_too_long", "password_too_short", "password_unprintable")


def checked_new_password(password: str, personal: Iterable[str] = ()) -> str:
    """The password in the normal form that is hashed. It takes some milliseconds.

    Args:
        personal: facts that others know about the person, such as name and address.

    Raises:
        UnfitPassword
    """
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise UnfitPassword(f"A password has at most {MAX_PASSWORD_CHARACTERS} characters.", code="password_too_long")
    try:
        normal = normal_form(password, at_most=MAX_PASSWORD_CHARACTERS, form="NFKC")
    except UnfitText:
        raise UnfitPassword("A password has printable characters only.", code="password_unprintable") from None
    if len(normal) < MIN_NEW_PASSWORD_CHARACTERS:
        raise UnfitPassword(
            f"A password has at least {MIN_NEW_PASSWORD_CHARACTERS} characters.", code="password_too_short"
        )
    if not is_text(normal):
        raise UnfitPassword("A password has printable characters only.", code="password_unprintable")
    words = _words(personal)
    if len(_LETTER.findall(_without(normal, words))) < _LEAST_OWN_LETTERS < len(_LETTER.findall(normal)):
        raise UnfitPassword("This password is made of what others know about you.")
    judged: dict[str, Any] = zxcvbn(normal[:_JUDGED_CHARACTERS], user_inputs=[*_NEAR_AT_HAND, *words])
    if judged["score"] < _LEAST_SCORE:
        raise UnfitPassword("This password would be among the first to be guessed.")
    return normal


def _words(personal: Iterable[str]) -> list[str]:
    whole = []
    for text in personal:
        try:
            whole.append(normal_form(text, at_most=MAX_EMAIL_CHARACTERS, form="NFKC").casefold())
        except UnfitText:
            # No name or address of anybody: the form it came in is refused for it.
            continue
    return [word for text in whole for word in (text, *re.split(r"[\s@._+-]+", text)) if len(word) > 2]


def _without(password: str, words: Iterable[str]) -> str:
    rest = password.casefold()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest
