"""Bodies of campaigns."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from shared.paging import NextCursor
from shared.times import Timestamp, iso
from shared.web.addresses import MAX_CHARACTERS

from token_service.campaigns.domain import Campaign, Counts, Landing, Offer, Statistics
from token_service.campaigns.recipients import Recipient
from token_service.tokens.domain import TokenState
from token_service.tokens.orders import check_text

_EXAMPLE: Final[dict[str, Any]] = {
    "destination_url": "https://mystore.example/housing",
    "offer": {
        "en": {"title": "50% off housing", "text": "For 24 hours, for you alone.", "button": "Show me"},
        "de": {"title": "50 % auf Wohnen", "text": "24 Stunden lang, nur für Sie.", "button": "Ansehen"},
    },
}


def _check_text(value: str) -> str:
    return check_text(value, len(value))


_Words = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=120),
    AfterValidator(_check_text),
]
_Paragraph = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=2000),
    AfterValidator(_check_text),
]


class OfferBody(BaseModel):
    """The texts of a hosted page in one language."""

    model_config = ConfigDict(extra="forbid")

    title: _Words
    text: _Paragraph
    button: _Words

    @classmethod
    def of(cls, offer: Offer) -> "OfferBody":
        return cls(title=offer.title, text=offer.text, button=offer.button)

    def offer(self) -> Offer:
        return Offer(self.title, self.text, self.button)


class OffersBody(BaseModel):
    """At least one language. A visitor reads the one that the browser prefers, or else the other."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    en: OfferBody | None = None
    de: OfferBody | None = None


class LandingBody(BaseModel):
    """The hosted landing page. Tokens that lead to it have the base URL `<the platform>/t`.

    Where the platform has a host for landing pages, links lead on to that host, and it may be named at once.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    destination_url: Annotated[str, Field(strict=True, min_length=1, max_length=MAX_CHARACTERS)]
    offer: OffersBody

    def landing(self) -> Landing:
        offers = {"en": self.offer.en, "de": self.offer.de}
        return Landing(self.destination_url, {code: body.offer() for code, body in offers.items() if body is not None})

    @classmethod
    def of(cls, landing: Landing) -> "LandingBody":
        offers = {code: OfferBody.of(offer) for code, offer in landing.offers.items()}
        return cls(destination_url=landing.destination_url, offer=OffersBody(**offers))


class RevokedBody(BaseModel):
    """Every token of the campaign that was issued until then is revoked."""

    campaign_id: str
    revoked_at: Timestamp


class CampaignBody(BaseModel):
    """A campaign in a list."""

    campaign_id: str
    created_at: Timestamp
    revoked_at: Timestamp | None
    issued: int
    verified: int
    distinct: int
    refused: int

    @classmethod
    def of(cls, campaign: Campaign, sums: dict[str, int]) -> "CampaignBody":
        return cls(
            campaign_id=campaign.campaign_id,
            created_at=campaign.created_at,
            revoked_at=campaign.revoked_at,
            issued=sums.get("issued", 0),
            verified=sums.get("verified", 0),
            distinct=sums.get("distinct", 0),
            refused=sums.get("refused", 0),
        )


class CampaignsBody(BaseModel):
    """A page of campaigns; `next_cursor` is null on the last one."""

    campaigns: list[CampaignBody]
    next_cursor: NextCursor


class RecipientBody(BaseModel):
    """A token of a campaign, without the token itself."""

    customer_id: str
    reference: str | None
    state: TokenState
    uses: Annotated[int, Field(ge=0, description="What counts against `max_uses`.")]
    verified_by: Annotated[dict[str, int], Field(description="person, bot, scanner")]
    first_used_at: Timestamp | None
    last_used_at: Timestamp | None
    issued_at: Timestamp
    expires_at: Timestamp | None

    @classmethod
    def of(cls, recipient: Recipient) -> "RecipientBody":
        return cls(
            customer_id=recipient.customer_id,
            reference=recipient.reference,
            state=recipient.state,
            uses=recipient.uses,
            verified_by={
                "person": recipient.by_people,
                "bot": recipient.by_bots,
                "scanner": recipient.by_scanners,
            },
            first_used_at=recipient.first_used_at,
            last_used_at=recipient.last_used_at,
            issued_at=recipient.issued_at,
            expires_at=recipient.expires_at,
        )


class RecipientsBody(BaseModel):
    """A page of a campaign's tokens; it may be empty and still lead on."""

    tokens: list[RecipientBody]
    next_cursor: NextCursor


#: Columns of the same list as CSV.
RECIPIENT_COLUMNS: Final = (
    *("customer_id", "reference", "state", "uses", "person", "bot", "scanner"),
    *("first_used_at", "last_used_at", "issued_at", "expires_at"),
)


def recipient_row(recipient: Recipient) -> list[Any]:
    """The values of `RECIPIENT_COLUMNS`."""
    times = (recipient.first_used_at, recipient.last_used_at, recipient.issued_at, recipient.expires_at)
    return [
        recipient.customer_id,
        recipient.reference or "",
        recipient.state.value,
        recipient.uses,
        recipient.by_people,
        recipient.by_bots,
        recipient.by_scanners,
        *("" if moment is None else iso(moment) for moment in times),
    ]


def statistics_body(statistics: Statistics, without_campaign: dict[str, int]) -> dict[str, Any]:
    """Counts in total and over time. `distinct` counts tokens that a person verified at least once."""
    campaign = statistics.campaign
    return {
        "campaign_id": campaign.campaign_id,
        "created_at": iso(campaign.created_at),
        "revoked_at": None if campaign.revoked_at is None else iso(campaign.revoked_at),
        **_counts_body(statistics.total),
        "bucket": statistics.bucket.value,
        "buckets": [{"start": iso(start), **_counts_body(counts)} for start, counts in statistics.buckets.items()],
        "refused_without_campaign": without_campaign,
    }


def _counts_body(counts: Counts) -> dict[str, Any]:
    return {
        "issued": counts.issued,
        "opened": counts.opened,
        "opened_by": counts.opened_by,
        "verified": counts.verified,
        "verified_by": counts.verified_by,
        "distinct": counts.distinct,
        "refused": counts.refused,
    }


_COUNT: Final = {"type": "integer", "minimum": 0}
_BY_NAME: Final = {"type": "object", "additionalProperties": _COUNT}
_COUNTS: Final[dict[str, Any]] = {
    "issued": _COUNT,
    "opened": {**_COUNT, "description": "Views of the hosted landing page by people; prefetches are none."},
    "opened_by": {**_BY_NAME, "description": "person, bot, scanner"},
    "verified": _COUNT,
    "verified_by": {**_BY_NAME, "description": "person, bot, scanner"},
    "distinct": {**_COUNT, "description": "Tokens that a person has verified at least once."},
    "refused": {**_BY_NAME, "description": "By the refusal's code."},
}
_MOMENT: Final = {"type": "string", "format": "date-time"}
STATISTICS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["campaign_id", *_COUNTS, "bucket", "buckets"],
    "properties": {
        "campaign_id": {"type": "string"},
        "created_at": _MOMENT,
        "revoked_at": {"type": ["string", "null"], "format": "date-time"},
        **_COUNTS,
        "bucket": {"enum": ["hour", "day"]},
        "buckets": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["start", *_COUNTS],
                "properties": {"start": _MOMENT, **_COUNTS},
            },
        },
        "refused_without_campaign": {
            **_BY_NAME,
            "description": "The tenant's refusals that belong to no campaign: malformed, or of no key.",
        },
    },
}
