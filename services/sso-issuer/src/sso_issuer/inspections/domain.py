"""What is wrong with a token: all of it, by name. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Final

from shared.jwt import Parts, VerificationKey, is_time

from sso_issuer.redemptions.domain import is_issued
from sso_issuer.redirects.domain import ListedIssuance

TYP: Final = "JWT"
#: The `jti` of an example begins so; examples are in no audit.
EXAMPLE_PREFIX: Final = "example-"

#: Code → what is wrong, and what to do about it.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "malformed_token": (
        "This is not a token of ours: {detail}.",
        "Pass the token on as it came, in one piece: three parts with a dot between them, nothing added or cut off.",
    ),
    "unknown_key": (
        "The kid in the header names no key of ours.",
        "Check that the token comes from this platform and this tenant. Fetch the key set again on an unknown kid.",
    ),
    "key_retired": (
        "The key that signed the token is retired.",
        "Refuse the token. Fetch the key set again, and keep it for no longer than its max-age.",
    ),
    "wrong_algorithm": (
        "The alg in the header is not {detail}, which is agreed on for this vendor.",
        "Accept this one algorithm only, and never the one that a header asks for.",
    ),
    "invalid_signature": (
        "The signature does not fit what the token says.",
        "Refuse the token: it was changed on the way, or somebody else signed it. For HS256 the key is the secret's "
        "text itself, not what it might decode to.",
    ),
    "expired": (
        "The token expired {detail} seconds ago.",
        "Redeem a token as soon as it arrives. If every token seems to be expired, your clock is ahead: set it by NTP.",
    ),
    "not_yet_valid": (
        "The token is valid only in {detail} seconds.",
        "We date tokens back by five seconds. If tokens are not valid yet all the same, your clock is behind: set it "
        "by NTP.",
    ),
    "wrong_audience": (
        "The token is for another audience than {detail}.",
        "Compare aud with the audience that is agreed on for this vendor, letter by letter.",
    ),
    "wrong_issuer": (
        "The token comes from another issuer than {detail}.",
        "Compare iss with the issuer of this tenant, letter by letter.",
    ),
    "wrong_type": (
        "The typ in the header is not JWT.",
        "Take tokens with the typ JWT only; others, such as access tokens, are for other purposes.",
    ),
    "already_redeemed": (
        "The token was redeemed at {detail}.",
        "Refuse it. A token is valid once; keep its jti until it expires, or redeem it here.",
    ),
    "token_not_issued": (
        "The token was not issued here as it stands.",
        "Refuse it: somebody signed it with the secret that you share with us.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    code: str
    message: str
    fix: str
    by_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class NamedKey:
    """The key that a header names."""

    key: VerificationKey
    is_retired: bool


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known here of a token and its vendor."""

    key: NamedKey | None
    algorithm: str
    issuer: str
    audience: str
    issuance: ListedIssuance | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that is wrong with a token.

    Attributes:
        header: None if it cannot be read.
        claims: None unless the token is this vendor's.
    """

    findings: tuple[Finding, ...]
    header: Mapping[str, Any] | None = None
    claims: Mapping[str, Any] | None = None


def malformed(detail: str) -> Inspection:
    """The inspection of what is no token at all."""
    return Inspection(findings=(_finding("malformed_token", detail),))


def inspect(token: str, parts: Parts, known: Known) -> Inspection:
    """All that is wrong with a token whose parts can be read."""
    header, claims = parts.header, parts.claims
    is_signed = known.key is not None and parts.is_signed_by(known.key.key)
    findings = [
        *_wrong_in_header(header, known),
        *([] if is_signed or known.key is None else [_finding("invalid_signature")]),
        *_wrong_in_claims(claims, known),
    ]
    is_ours = is_signed and _is_for(claims, known.audience)
    if is_ours and not _is_example(claims):
        findings += _wrong_in_audit(token, claims, known.issuance)
    return Inspection(findings=tuple(findings), header=header, claims=claims if is_ours else None)


def _wrong_in_header(header: Mapping[str, Any], known: Known) -> list[Finding]:
    found = []
    if "crit" in header:
        found.append(_finding("malformed_token", "its header demands an extension that nobody here understands"))
    if known.key is None:
        found.append(_finding("unknown_key"))
    elif known.key.is_retired:
        found.append(_finding("key_retired"))
    if header.get("alg") != known.algorithm or (known.key is not None and known.key.key.algorithm != known.algorithm):
        found.append(_finding("wrong_algorithm", known.algorithm))
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.upper() != TYP:
        found.append(_finding("wrong_type"))
    return found


def _wrong_in_claims(claims: Mapping[str, Any], known: Known) -> list[Finding]:
    found = []
    now = known.now.timestamp()
    for name in ("iat", "exp"):
        if not is_time(claims.get(name)):
            found.append(_finding("malformed_token", f"it does not say its {name} as a number of seconds"))
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        found.append(_finding("malformed_token", "it does not say its jti"))
    if is_time(claims.get("exp")) and claims["exp"] <= now:
        found.append(_finding("expired", by_seconds=max(1, ceil(now - claims["exp"]))))
    begins = max((claims[name] for name in ("iat", "nbf") if is_time(claims.get(name))), default=0)
    if begins > now:
        found.append(_finding("not_yet_valid", by_seconds=max(1, ceil(begins - now))))
    if not _is_for(claims, known.audience):
        found.append(_finding("wrong_audience", known.audience))
    if claims.get("iss") != known.issuer:
        found.append(_finding("wrong_issuer", known.issuer))
    return found


def _wrong_in_audit(token: str, claims: Mapping[str, Any], issuance: ListedIssuance | None) -> list[Finding]:
    if issuance is None or not is_issued(issuance, token, claims):
        return [_finding("token_not_issued")]
    if issuance.redeemed_at is not None:
        return [_finding("already_redeemed", issuance.redeemed_at.isoformat(timespec="seconds"))]
    return []


def _is_for(claims: Mapping[str, Any], audience: str) -> bool:
    aud = claims.get("aud")
    return audience in (aud if isinstance(aud, list) else [aud])


def _is_example(claims: Mapping[str, Any]) -> bool:
    return str(claims.get("jti")).startswith(EXAMPLE_PREFIX)


def _finding(code: str, detail: str = "", *, by_seconds: int | None = None) -> Finding:
    message, fix = _WORDS[code]
    return Finding(code, message.format(detail=detail if by_seconds is None else by_seconds), fix, by_seconds)
