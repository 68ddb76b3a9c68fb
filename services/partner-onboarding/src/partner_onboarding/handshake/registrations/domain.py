"""The registration form and its mistakes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from partner_onboarding.characters import is_text, shows_something
from partner_onboarding.register.users.domain import (
    MAX_NAME_CHARACTERS,
    MalformedUser,
    checked_profile,
    normalised_email,
)
from partner_onboarding.register.users.new_passwords import UnfitPassword, checked_new_password

#: The documents that a person agrees to, each with its field of the form.
DOCUMENTS: Final = ("terms", "privacy")
#: Where each stands on this site, for a platform that has no page of its own.
OWN_DOCUMENTS: Final = {"terms": "/register/terms", "privacy": "/register/privacy"}
USER_ID_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class Documents:
    """Where each of the `DOCUMENTS` stands, and the version that people agree to today."""

    addresses: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Applicant:
    """The fields of the registration form, as they came."""

    email: str
    password: str
    firstname: str
    lastname: str
    accepts: frozenset[str]


def mistakes(applicant: Applicant, personal: tuple[str, ...] = ()) -> dict[str, str]:
    """The mistakes by field in the order of the form, each as the key of its text.

    It takes some milliseconds, since it estimates how guessable the password is.

    Args:
        personal: further words that an attacker would try first, beside the applicant's names.
    """
    found: dict[str, str] = {}
    for field, name in (("firstname", applicant.firstname), ("lastname", applicant.lastname)):
        if not name.strip():
            found[field] = f"{field}_missing"
        elif len(name.strip()) > MAX_NAME_CHARACTERS or not is_text(name) or not shows_something(name):
            found[field] = "name_malformed"
    if not applicant.email.strip():
        found["email"] = "email_missing"
    elif not _is_address(applicant.email):
        found["email"] = "email_malformed"
    if not applicant.password:
        found["password"] = "new_password_missing"  # noqa: S105 — the key of a text
    else:
        try:
            checked_new_password(
                applicant.password, (applicant.email, applicant.firstname, applicant.lastname, *personal)
            )
        except UnfitPassword as unfit:
            found["password"] = unfit.stable_code
    for document in DOCUMENTS:
        if document not in applicant.accepts:
            found[f"accept_{document}"] = f"accept_{document}_missing"
    return found


def applicant_of(fields: Mapping[str, str]) -> Applicant:
    """The fields of a posted form. A ticked box comes with any value except these."""
    ticked = {document for document in DOCUMENTS if fields.get(f"accept_{document}", "").lower() not in _NOT_TICKED}
    return Applicant(
        email=fields.get("email", ""),
        password=fields.get("password", ""),
        firstname=fields.get("firstname", ""),
        lastname=fields.get("lastname", ""),
        accepts=frozenset(ticked),
    )


_NOT_TICKED: Final = frozenset({"", "0", "no", "off", "false"})


def _is_address(email: str) -> bool:
    try:
        normalised_email(email)
        checked_profile(email, "x", "x")
    except MalformedUser:
        return False
    return True
