"""Clients, and the rules of their registration."""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from shared.errors import Conflict, Forbidden, Malformed, NotFound
from shared.jwt import UnusableKey, judge_client_keys
from shared.times import iso
from shared.web.addresses import check_address, is_loopback

from partner_onboarding.characters import hides_something, shows_something

Kind = Literal["first_party", "third_party"]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SCOPES = (
    "points:redeem",
    "points:read",
    "points:admin",
    "sso:issue",
    "sso:admin",
    "partner:handshake",
    "users:read",
    "users:write",
    "tokens:issue",
    "tokens:verify",
    "tokens:stats",
    "clients:admin",
)
#: Without a colon, which ends the client id in `Authorization: Basic`.
CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
#: The scopes that a third party may ask for. The others are for the platform's back ends, single sign-on and operators.
THIRD_PARTY_SCOPES = (
    "points:redeem",
    "points:read",
    "points:admin",
    "users:read",
    "users:write",
    "tokens:issue",
    "tokens:verify",
    "tokens:stats",
)
MAX_ENTRIES = 50
MAX_NAME_CHARACTERS = 200
_MAX_KEYS = 10
_MAX_JWKS_CHARACTERS = 16_384
_MAX_MEMBERS = 20
_MAX_TEXTS = 10
_MAX_TEXT_CHARACTERS = 4096
#: The private members of a JWK.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_OVERLAP_SECONDS = 30 * 86_400
LIVE_SECRETS = 2
#: A path of the interface; no client has it as its id.
SELF = "self"


class InvalidClient(NotFound):
    """An unknown id, a wrong secret, or an ended client or secret; all look the same."""

    code = "invalid_client"


class ClientNotFound(NotFound):
    code = "client_not_found"


class SecretNotFound(NotFound):
    code = "secret_not_found"


class ClientIdTaken(Conflict):
    code = "client_id_taken"


class ClientDisabled(Conflict):
    code = "client_disabled"


class ClientChanged(Conflict):
    """The client is not any more what the operator saw."""

    code = "client_changed"


class VendorIdTaken(Conflict):
    """A live client of the tenant keeps its records under this name."""

    code = "vendor_id_taken"


class FormerSecretLive(Conflict):
    """Two secrets are live; a third one would end one that may still be in use."""

    code = "former_secret_live"


class ExceedsOwnRights(Forbidden):
    """The client could do what the operator that registers it, or wants a secret of it, cannot."""

    code = "exceeds_own_rights"


class SecretNeeded(Forbidden):
    """A client does this with its secret; an access token of it is not enough."""

    code = "secret_needed"


class ClientInternal(Conflict):
    """The service keeps this client for itself; without it, it could send no mails."""

    code = "client_internal"

    def __init__(self) -> None:
        super().__init__("The platform itself keeps this client.")


class MalformedClient(Malformed):
    code = "malformed_client"
    further_codes = ("invalid_network", "invalid_url", "malformed_jwks", "scope_not_allowed", "unknown_scope")


@dataclass(frozen=True, slots=True)
class Registration:
    """A client's registration."""

    name: str
    kind: Kind = "first_party"
    scopes: tuple[str, ...] = ()
    vendor_id: str | None = None
    ip_allow_list: tuple[str, ...] = ()
    landing_url: str | None = None
    redirect_uris: tuple[str, ...] = ()
    #: Public keys for the client's assertions (`private_key_jwt`).
    jwks: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """The times of a client's secret, without the secret."""

    n: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class SecretHash:
    """The stored hash of a secret."""

    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one tenant."""

    tenant: str
    client_id: str
    registration: Registration
    created_at: datetime
    disabled_at: datetime | None


def own_client_id(tenant: str, number: str) -> str:
    """The id of a client that this service registers for itself in a tenant, to make links for mails."""
    return f"mails.{tenant}.{number}"


def is_platforms_own(tenant: str, client_id: str) -> bool:
    """Whether the service registered this client for itself."""
    return client_id.startswith(own_client_id(tenant, ""))


def audited(client: Client) -> dict[str, Any]:
    """What the audit says of a client's registration."""
    registration = client.registration
    keys = (registration.jwks or {}).get("keys", [])
    return {
        "name": registration.name,
        "kind": registration.kind,
        "scopes": list(registration.scopes),
        "vendor_id": registration.vendor_id,
        "ip_allow_list": list(registration.ip_allow_list),
        "landing_url": registration.landing_url,
        "redirect_uris": list(registration.redirect_uris),
        "key_ids": [key["kid"] for key in keys],
    }


def state_of(client: Client) -> str:
    """A short text that is another one after each change of the registration."""
    return hashlib.sha256(json.dumps(audited(client), sort_keys=True).encode()).hexdigest()


def live_numbers(secrets: Sequence[Secret], now: datetime) -> list[int]:
    """The numbers of the secrets that are good at this moment."""
    return [secret.n for secret in secrets if secret.is_live(now)]


@dataclass(frozen=True, slots=True)
class Rotation:
    """The effect of a new secret on the present ones."""

    ends_now: tuple[int, ...]
    stays_until: dict[int, datetime]
    new_n: int


def _check_url(url: str, *, plain_http: bool) -> None:
    try:
        check_address(url, plain_http=plain_http)
    except ValueError as error:
        raise MalformedClient(f"A landing or redirect address {error}.", code="invalid_url") from None


def checked(registration: Registration, *, plain_http: bool) -> Registration:
    """The checked registration: lists without repetitions, scopes in their usual order, networks normalised.

    Args:
        plain_http: whether addresses on the same machine may be plain http (development).

    Raises:
        MalformedClient: names the fault.
    """
    unknown = sorted(set(registration.scopes) - set(SCOPES))
    if unknown:
        raise MalformedClient(f"There is no scope {unknown[0]!r}.", code="unknown_scope")
    forbidden = sorted(set(registration.scopes) - set(THIRD_PARTY_SCOPES))
    if registration.kind == "third_party" and forbidden:
        raise MalformedClient(f"A third party cannot have the scope {forbidden[0]!r}.", code="scope_not_allowed")
    if registration.kind == "third_party" and registration.ip_allow_list:
        raise MalformedClient(
            "A third party has no ip_allow_list: it calls with access tokens, which carry no addresses.",
            code="invalid_network",
        )
    name = registration.name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or hides_something(name) or not shows_something(name):
        raise MalformedClient(f"A client's name has 1 to {MAX_NAME_CHARACTERS} printable characters.")
    for url in (registration.landing_url, *registration.redirect_uris):
        if url is not None:
            # An app on a person's own machine has no certificate (RFC 8252, 7.3).
            is_own_machine = url in registration.redirect_uris and _is_loopback(url)
            _check_url(url, plain_http=plain_http or is_own_machine)
    if max(len(registration.redirect_uris), len(registration.ip_allow_list)) > MAX_ENTRIES:
        raise MalformedClient(f"At most {MAX_ENTRIES} redirect addresses and networks.")
    return Registration(
        name=name,
        kind=registration.kind,
        scopes=tuple(scope for scope in SCOPES if scope in registration.scopes),
        vendor_id=registration.vendor_id,
        ip_allow_list=tuple(dict.fromkeys(_network(text) for text in registration.ip_allow_list)),
        landing_url=registration.landing_url,
        redirect_uris=tuple(dict.fromkeys(registration.redirect_uris)),
        jwks=_public_keys(registration.jwks) if registration.jwks is not None else None,
    )


def _is_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname)
    except ValueError:
        return False


def _public_keys(jwks: Mapping[str, Any]) -> Mapping[str, Any]:
    # Before anything looks at the keys: members that nobody knows could make it as long as a body may be.
    if len(json.dumps(jwks)) > _MAX_JWKS_CHARACTERS:
        raise MalformedClient(f"jwks has at most {_MAX_JWKS_CHARACTERS} characters.", code="malformed_jwks")
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 0 < len(keys) <= _MAX_KEYS or not all(map(_is_public_key, keys)):
        raise MalformedClient(
            f"jwks holds 1 to {_MAX_KEYS} public keys of type EC or RSA, each with a kid.", code="malformed_jwks"
        )
    try:
        judge_client_keys({"keys": keys})
    except UnusableKey as unusable:
        raise MalformedClient(f"jwks cannot be used: {unusable}.", code="malformed_jwks") from None
    return {"keys": keys}


def _is_public_key(key: object) -> bool:
    return (
        isinstance(key, dict)
        and key.get("kty") in {"EC", "RSA"}
        and isinstance(key.get("kid"), str)
        and 0 < len(key["kid"]) <= 128
        and not _PRIVATE_MEMBERS & key.keys()
        and len(key) <= _MAX_MEMBERS
        and all(map(_is_bounded, key.values()))
    )


def _is_bounded(value: object) -> bool:
    """A member of a key: a text, or a short list of texts such as `key_ops` and `x5c`."""
    texts = value if isinstance(value, list) else [value]
    return len(texts) <= _MAX_TEXTS and all(
        isinstance(text, str) and len(text) <= _MAX_TEXT_CHARACTERS for text in texts
    )


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        raise MalformedClient(
            "Networks are written as 192.0.2.0/24 or 2001:db8::/32, with no host bits set.", code="invalid_network"
        ) from None


def rotate(secrets: Sequence[Secret], overlap: timedelta, now: datetime, *, end_former: bool = False) -> Rotation:
    """Decides what becomes of the present secrets when a new one is added.

    The newest live one stays for the overlap, and never longer than it would have anyway.

    Args:
        end_former: a former secret that is still live ends now.

    Raises:
        FormerSecretLive: two secrets are live, and nobody said that the former one may end.
    """
    live = sorted((secret for secret in secrets if secret.is_live(now)), key=lambda secret: secret.n)
    if len(live) >= LIVE_SECRETS and not end_former:
        ends = min(secret.expires_at for secret in live if secret.expires_at is not None)
        raise FormerSecretLive(
            "The former secret is still live. Wait until it ends, or say that it may end now: end_former.",
            expires_at=iso(ends),
        )
    staying = live[-1:] if overlap > timedelta() else []
    return Rotation(
        # Secrets that have run out are closed too, which keeps "not revoked" at two rows a client.
        ends_now=tuple(s.n for s in secrets if s.revoked_at is None and s not in staying),
        stays_until={s.n: min(now + overlap, s.expires_at or now + overlap) for s in staying},
        new_n=max((secret.n for secret in secrets), default=0) + 1,
    )


def check_within_rights(registration: Registration, operator: Registration) -> None:
    """A client gives another one no more than it may do itself, be it a registration or a new secret.

    `clients:admin` is the right to give every scope that a client of its kind may have (`checked`), in the operator's
    own tenant. The networks that bind the operator bind every other operator that it makes or gets a secret of.

    Raises:
        ExceedsOwnRights
    """
    if "clients:admin" not in operator.scopes:
        raise ExceedsOwnRights("Clients are for those who have clients:admin.")
    if "clients:admin" not in registration.scopes or not operator.ip_allow_list:
        return
    own = [ipaddress.ip_network(network) for network in operator.ip_allow_list]
    given = [ipaddress.ip_network(network) for network in registration.ip_allow_list]
    if not given or not all(any(_is_part(network, outer) for outer in own) for network in given):
        raise ExceedsOwnRights("A client with clients:admin is bound to the networks of the operator that gives it.")


def _is_part(network: _Network, outer: _Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and network.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and network.subnet_of(outer)
