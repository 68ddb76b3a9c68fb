"""What happens in this service, for those who want to hear of it: tokens, campaigns and imports.

An event never carries a token: who hears of a token need not be who may use it.
"""

from datetime import datetime
from typing import Final

from shared.events.domain import Audience, NewEvent, Topic
from shared.times import iso

from token_service.tokens.domain import Token

#: All of a tenant's campaign clients see all of its tokens.
TOPIC: Final = Topic(
    "tokens",
    ("token.used_up", "token.revoked", "campaign.revoked", "import.finished"),
    (Audience(("tokens:stats",), kinds=("first_party", "third_party")),),
)


def token_used_up(token: Token, at: datetime | None) -> NewEvent:
    """The last use of a limited token was taken, or its quota was lowered to what was used."""
    data = _token(token) | {"uses": token.uses.used_up, "max_uses": token.terms.max_uses}
    return NewEvent("token.used_up", data, happened_at=at)


def token_revoked(token: Token, revoked_at: datetime) -> NewEvent:
    return NewEvent("token.revoked", _token(token) | {"revoked_at": iso(revoked_at)}, happened_at=revoked_at)


def campaign_revoked(campaign_id: str, revoked_at: datetime) -> NewEvent:
    """All tokens of the campaign that were issued until then."""
    data = {"campaign_id": campaign_id, "revoked_at": iso(revoked_at)}
    return NewEvent("campaign.revoked", data, happened_at=revoked_at)


def import_finished(client_id: str, rows: int, issued: int) -> NewEvent:
    """A list was read to its end.

    Args:
        issued: rows that have a token now; the others were refused.
    """
    data = {"client_id": client_id, "rows": rows, "issued": issued, "refused": rows - issued}
    return NewEvent("import.finished", data)


def _token(token: Token) -> dict[str, object]:
    terms = token.terms
    return {"campaign_id": terms.campaign_id, "customer_id": terms.customer_id, "product_id": terms.product_id}
