"""Bodies of consents, and the receipt for an admin."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp

from partner_onboarding.register.clients.domain import Client
from partner_onboarding.register.tenants.domain import Tenant
from partner_onboarding.third_parties.consents.domain import Consent, Event
from partner_onboarding.third_parties.consents.service import Given


class ConsentBody(BaseModel):
    """The tenant's present consent to a third party, or its withdrawal."""

    client_id: str
    name: Annotated[str, Field(description="Of the integration.")]
    state: Annotated[str, Field(description="granted, withdrawn, or client_disabled.")]
    scopes: list[str]
    designated_user: Annotated[str, Field(description="The user for API transactions.")]
    version: int
    recorded_at: Timestamp
    recorded_by: str
    language: Annotated[str, Field(description="In which the words were read.")]

    @classmethod
    def of(cls, given: Given) -> Self:
        return cls.model_validate(_fields(given.client, given.consent))


class ConsentsBody(BaseModel):
    """A page of consents."""

    consents: list[ConsentBody]
    next_cursor: NextCursor


class ConsentsQuery(BaseModel):
    """Which page of the consents."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class ConsentVersionBody(BaseModel):
    """One version of a consent."""

    version: int
    event: Event
    recorded_at: Timestamp
    recorded_by: str
    designated_user: str
    scopes: list[str]
    words: dict[str, str]
    language: str

    @classmethod
    def of(cls, consent: Consent) -> Self:
        return cls(
            version=consent.version,
            event=consent.event,
            recorded_at=consent.recorded_at,
            recorded_by=str(consent.actor),
            designated_user=consent.subject,
            scopes=list(consent.scopes),
            words=dict(consent.words),
            language=consent.language,
        )


class ConsentHistoryBody(ConsentBody):
    """A consent with all its versions, newest first."""

    versions: list[ConsentVersionBody]

    @classmethod
    def of_versions(cls, client: Client, versions: Sequence[Consent]) -> Self:
        told = [ConsentVersionBody.of(one) for one in versions]
        return cls.model_validate(_fields(client, versions[0]) | {"versions": told})


def receipt(tenant: Tenant, client: Client, consent: Consent, public_url: str) -> dict[str, Any]:
    """An admin's receipt of a consent, in the spirit of ISO/IEC TS 27560 and Kantara's consent receipt: parties,
    scopes, words, times, and the way to end it."""
    told = ConsentBody.model_validate(_fields(client, consent)).model_dump(mode="json")
    return {
        "schema": "consent-receipt/1",
        "receipt_id": f"{consent.tenant}/{consent.client_id}/{consent.version}",
        "event": consent.event,
        "version": consent.version,
        "recorded_at": told["recorded_at"],
        "language": consent.language,
        "controller": {"tenant": tenant.tenant, "name": tenant.name},
        "recipient": {
            "client_id": client.client_id,
            "name": client.registration.name,
            "redirect_uris": list(client.registration.redirect_uris),
        },
        "given_by": {"role": consent.actor.kind, "id": consent.actor.name},
        "designated_user": consent.subject,
        "data": [{"scope": scope, "words": consent.words.get(scope, "")} for scope in consent.scopes],
        "duration": "until withdrawn",
        "withdrawal": f"{public_url}/consents",
    }


def _fields(client: Client, consent: Consent) -> dict[str, Any]:
    state = "granted" if consent.holds else "withdrawn"
    return {
        "client_id": client.client_id,
        "name": client.registration.name,
        "state": "client_disabled" if client.disabled_at is not None else state,
        "scopes": list(consent.scopes),
        "designated_user": consent.subject,
        "version": consent.version,
        "recorded_at": consent.recorded_at,
        "recorded_by": str(consent.actor),
        "language": consent.language,
    }
