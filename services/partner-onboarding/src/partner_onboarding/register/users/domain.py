"""Users, and the rules for addresses, names and passwords."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from shared.errors import Conflict, Forbidden, Malformed, NotFound
from shared.texts import UnfitText, normal_form

from partner_onboarding.characters import hides_something, is_text, shows_something

ROLES = ("operator", "tenant_admin")
MAX_EMAIL_CHARACTERS = 254
MAX_NAME_CHARACTERS = 100
MAX_PASSWORD_CHARACTERS = 1024

_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\]{1,64}")
#: What East Asian keyboards type for ASCII; mail servers know no such mailboxes.
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class UserNotFound(NotFound):
    code = "user_not_found"


class PrivilegedUser(Forbidden):
    """The user has a role: only an operator with shell access changes such a user."""

    code = "privileged_user"


class OwnAccountMeant(Conflict):
    """An operator would lock himself or herself out."""

    code = "own_account"


class LastOperator(Conflict):
    """Nobody would be left who could give back what is taken away."""

    code = "last_operator"


class EmailTaken(Conflict):
    code = "email_taken"


class MalformedUser(Malformed):
    code = "malformed_user"
    further_codes: ClassVar[tuple[str, ...]] = ("malformed_email", "malformed_name")


@dataclass(frozen=True, slots=True)
class Profile:
    """A person's profile, sealed as a whole at rest."""

    email: str
    firstname: str
    lastname: str


@dataclass(frozen=True, slots=True)
class User:
    """A user of one tenant with the opened profile."""

    tenant: str
    user_id: str
    profile: Profile
    password_hash: str | None
    roles: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    email_verified_at: datetime | None = None
    #: Whether the address is the person's own: the tenant says so, or the person opened the link mailed to it.
    owns_email: bool = True
    disabled_at: datetime | None = None

    @property
    def settings(self) -> tuple[object, ...]:
        """What a client that sets a user may overwrite. The time stands for the password."""
        return self.profile, self.owns_email, self.updated_at


@dataclass(frozen=True, slots=True)
class SealedUser:
    """A stored user. Without the keys it reveals nothing of the person."""

    tenant: str
    user_id: str
    email_hash: bytes
    profile: bytes
    password_hash: str | None
    roles: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    owns_email: bool = True
    email_verified_at: datetime | None = None
    disabled_at: datetime | None = None


def normalised_email(email: str) -> str:
    """The normal form of an address: NFC, lower case, no full-width forms, the domain in ASCII.

    Dots and `+tags` before the @ stay, since at most providers they name another mailbox.

    Raises:
        MalformedUser: `malformed_email`.
    """
    refusal = MalformedUser("This is not an e-mail address.", code="malformed_email")
    try:
        folded = email.strip().translate(_FULL_WIDTH)
        local, at, domain = normal_form(folded, at_most=MAX_EMAIL_CHARACTERS).lower().rpartition("@")
    except UnfitText:
        raise refusal from None
    if not at or not _LOCAL_PART.fullmatch(local) or hides_something(local):
        raise refusal
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise refusal
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise refusal from None
    labels = ascii_domain.split(".")
    if len(ascii_domain) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refusal
    return f"{local}@{ascii_domain}"


def deliverable(email: str) -> str:
    """An address for mail servers: as it was typed but for full-width forms, with the domain in ASCII."""
    return f"{email.translate(_FULL_WIDTH).rpartition('@')[0]}@{normalised_email(email).rpartition('@')[2]}"


def email_hash(key: bytes, normalised: str) -> bytes:
    """The stored account name: HMAC-SHA256 under a key outside of the database.

    It is keyed because addresses can be guessed: a plain hash is as good as the address.
    """
    return hmac.digest(key, normalised.encode(), hashlib.sha256)


def checked_profile(email: str, firstname: str, lastname: str) -> Profile:
    """The checked profile. The address keeps its spelling, since mails go to it.

    Raises:
        MalformedUser: `malformed_email` or `malformed_name`.
    """
    normalised_email(email)
    refusal = MalformedUser(
        f"First and last name have 1 to {MAX_NAME_CHARACTERS} printable characters, one of them visible.",
        code="malformed_name",
    )
    try:
        names = [normal_form(name.strip(), at_most=MAX_NAME_CHARACTERS) for name in (firstname, lastname)]
    except UnfitText:
        raise refusal from None
    if not all(shows_something(name) and is_text(name) for name in names):
        raise refusal
    return Profile(email.strip(), *names)


def normalised_password(password: str) -> str:
    """The form of a password that is hashed. One that no rule lets through comes back as it is, and fits nobody."""
    try:
        return normal_form(password, at_most=MAX_PASSWORD_CHARACTERS, form="NFKC")
    except UnfitText:
        return password
