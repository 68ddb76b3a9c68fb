"""Receipts: what the platform signed of a transaction. Anybody can check one, ten years later and offline."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jwt

from points_client.exchanges import Exchange, Request, told
from points_client.schemas import KeySet, PublicKey, ReceiptAnswer


class ReceiptRejected(Exception):
    """The receipt is forged, or not about what you think."""


def receipt(order_id: str) -> Exchange[str]:
    """The receipt of a transaction that has ended, a compact JWS. Keep it.

    Raises:
        Refused: `transaction_still_held`, `no_receipt`, `transaction_not_found`.
        Unanswered
    """
    answer = yield from told(ReceiptAnswer, Request("GET", f"/eai/v1/receipts/{quote(order_id, safe='')}"))
    return answer["receipt"]


def receipt_keys(authority_path: str) -> Exchange[list[PublicKey]]:
    """The keys of all receipts of a tenant, old ones too: keep them beside the receipts.

    Args:
        authority_path: such as `/tenants/demo`.
    """
    answer = yield from told(KeySet, Request("GET", f"{authority_path}/receipts/jwks.json"))
    return answer["keys"]


def check_receipt(
    told: str, keys: Sequence[Mapping[str, Any]], *, vendor_id: str, issuer: str | None = None
) -> dict[str, Any]:
    """The claims of a receipt that is genuine. Needs no network.

    Args:
        keys: as `receipt_keys` gave them.
        issuer: the tenant authority; None takes any that the keys speak for.

    Raises:
        ReceiptRejected: says why.
    """
    try:
        header = jwt.get_unverified_header(told)
        if header.get("typ") != "receipt+jwt":
            raise ReceiptRejected("This is no receipt.")
        key = next((one for one in keys if one.get("kid") == header.get("kid")), None)
        if key is None:
            raise ReceiptRejected("No key that you have signed this.")
        claims: dict[str, Any] = jwt.decode(
            told,
            jwt.PyJWK(dict(key)),
            algorithms=["ES256"],
            audience=vendor_id,
            issuer=issuer,
            # A receipt does not expire, and the clock of the reader does not matter.
            options={"require": ["iss", "aud", "iat", "jti"], "verify_iat": False},
        )
    except jwt.InvalidTokenError as error:
        raise ReceiptRejected(f"The receipt is not genuine: {error}.") from None
    return claims
