"""Keys over the wire."""

from pydantic import BaseModel, ConfigDict, Field
from shared.times import Timestamp

from sso_issuer.keys.domain import Algorithm, Key, KeyState
from sso_issuer.keys.service import Rotation, RotationWish


class RotationBody(BaseModel):
    """How keys are to be replaced."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"algorithm": "ES256", "immediately": False}]}
    )

    algorithm: Algorithm | None = Field(None, description="By default every algorithm the tenant has keys for.")
    immediately: bool = Field(False, strict=True, description="Sign with the new key at once.")
    revoke_former: bool = Field(
        False,
        strict=True,
        description="Private keys have leaked: take all former keys out of the set at once, which ends all tokens "
        "they signed. Only together with `immediately`.",
    )

    def wish(self) -> RotationWish:
        return RotationWish(algorithm=self.algorithm, immediately=self.immediately, revoke_former=self.revoke_former)


class FormerKeyBody(BaseModel):
    kid: str
    state: KeyState
    published_until: Timestamp | None = Field(description="Null while it still signs, and after a revocation.")


class RotatedKeyBody(BaseModel):
    """What came of it for one algorithm."""

    algorithm: Algorithm
    kid: str
    state: KeyState
    published_at: Timestamp
    signs_from: Timestamp = Field(description="From then on new tokens carry this kid.")
    former: FormerKeyBody | None

    @classmethod
    def of(cls, rotation: Rotation) -> "RotatedKeyBody":
        key = rotation.successor
        return cls(
            algorithm=key.algorithm,
            kid=key.kid,
            state=key.state,
            published_at=key.published_at,
            signs_from=key.signs_from,
            former=None if rotation.former is None else _former(rotation.former),
        )


class RotatedKeysBody(BaseModel):
    keys: list[RotatedKeyBody]


class JwkBody(BaseModel):
    """A public key, RFC 7517."""

    model_config = ConfigDict(extra="allow")

    kty: str
    kid: str
    use: str
    alg: Algorithm


class JwksBody(BaseModel):
    keys: list[JwkBody]


def _former(key: Key) -> FormerKeyBody:
    return FormerKeyBody(
        kid=key.kid,
        state=key.state,
        published_until=key.published_until if key.state is KeyState.RETIRING else None,
    )
