"""Vendors over the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp
from shared.web.addresses import MAX_CHARACTERS

from sso_issuer.vendors.domain import (
    LONGEST_LIFETIME_SECONDS,
    LONGEST_OVERLAP,
    Agreement,
    ClaimSpelling,
    Delivery,
    Vendor,
    VendorAlgorithm,
)

_Seconds = Annotated[int, Field(strict=True, ge=0, le=int(LONGEST_OVERLAP.total_seconds()))]


class AgreementBody(BaseModel):
    """An agreement with a vendor. Missing fields get their defaults."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Rewards Shop",
                    "redirect_url": "https://rewards.example/redeem",
                    "delivery": "query",
                    "algorithm": "ES256",
                    "lifetime_seconds": 60,
                    "claim_spelling": "lower",
                }
            ]
        },
    )

    name: Identifier = Field(description="How users are told where they go.")
    redirect_url: str = Field(
        strict=True,
        max_length=MAX_CHARACTERS,
        description="https; its own query is kept, credentials and fragments are not.",
    )
    delivery: Delivery = Delivery.QUERY
    algorithm: VendorAlgorithm = VendorAlgorithm.ES256
    lifetime_seconds: int = Field(
        60,
        strict=True,
        ge=1,
        le=LONGEST_LIFETIME_SECONDS,
        description="From `iat` to `exp`. `iat` lies five seconds back, so that the vendor's clock may be behind: "
        "of 60 seconds, 55 are left.",
    )
    claim_spelling: ClaimSpelling = ClaimSpelling.LOWER
    audience: Identifier | None = Field(None, description="The `aud` of the tokens; by default the vendor's id.")

    def agreement(self, vendor_id: str) -> Agreement:
        return Agreement(
            name=self.name,
            redirect_url=self.redirect_url,
            delivery=self.delivery,
            algorithm=self.algorithm,
            lifetime_seconds=self.lifetime_seconds,
            claim_spelling=self.claim_spelling,
            audience=vendor_id if self.audience is None else self.audience,
        )


class MadeClientBody(BaseModel):
    """The test client of a sandbox with which redirects are to be agreed."""

    model_config = ConfigDict(extra="forbid")

    client_id: Identifier


class VendorBody(BaseModel):
    """A vendor, and what it needs to verify tokens."""

    vendor_id: str
    name: str
    redirect_url: str
    delivery: Delivery
    algorithm: VendorAlgorithm
    lifetime_seconds: int
    claim_spelling: ClaimSpelling
    audience: str = Field(description="The `aud` to insist on.")
    issuer: str = Field(description="The `iss` to insist on.")
    jwks_uri: str = Field(description="Where the public keys are; not needed for HS256.")
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, vendor: Vendor, issuer: str) -> "VendorBody":
        agreement = vendor.agreement
        return cls(
            vendor_id=vendor.vendor_id,
            name=agreement.name,
            redirect_url=agreement.redirect_url,
            delivery=agreement.delivery,
            algorithm=agreement.algorithm,
            lifetime_seconds=agreement.lifetime_seconds,
            claim_spelling=agreement.claim_spelling,
            audience=agreement.audience,
            issuer=issuer,
            jwks_uri=f"{issuer}/jwks.json",
            created_at=vendor.created_at,
            updated_at=vendor.updated_at,
        )


class VendorsQuery(BaseModel):
    """A page of the tenant's vendors, by their ids."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: int = Field(100, ge=1, le=200)


class VendorsBody(BaseModel):
    vendors: list[VendorBody]
    next_cursor: NextCursor


class SecretRotationBody(BaseModel):
    """How a new secret takes over."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_seconds": 86400}]})

    overlap_seconds: _Seconds = Field(86_400, description="How long the former secret stays valid; 0 ends it now.")
    signs_in_seconds: _Seconds = Field(
        0, description="When the new secret begins to sign; until then the former one does. At most the overlap."
    )
    end_former: bool = Field(
        False, strict=True, description="End the older one of two live secrets now; without it that is a 409."
    )


class FormerSecretBody(BaseModel):
    kid: str
    expires_at: Timestamp


class VendorSecretBody(BaseModel):
    """A new secret, shown only this once."""

    vendor_id: str
    kid: str = Field(description="Names the secret in the header of tokens.")
    secret: str = Field(description="The HMAC key is this text itself, not what it might decode to.")
    algorithm: Literal["HS256"] = "HS256"
    created_at: Timestamp
    signs_from: Timestamp
    former: FormerSecretBody | None


class NamedVendorBody(BaseModel):
    vendor_id: str
    name: str


class NamedVendorsBody(BaseModel):
    vendors: list[NamedVendorBody]
