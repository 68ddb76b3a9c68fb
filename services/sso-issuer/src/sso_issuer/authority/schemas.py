"""Bodies of the authorities. Requests are forms and stand here for OpenAPI only."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp

from sso_issuer.authority.domain import EventKind


class MetadataBody(BaseModel):
    """RFC 8414, and what OpenID Connect Discovery requires beside it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    jwks_uri: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    response_modes_supported: list[str]
    grant_types_supported: list[str]
    code_challenge_methods_supported: list[str]
    authorization_response_iss_parameter_supported: bool = Field(description="RFC 9207: every answer names its `iss`.")
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_signing_alg_values_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_signing_alg_values_supported: list[str]
    subject_types_supported: list[str] = Field(description="For libraries that read OpenID Connect only.")
    id_token_signing_alg_values_supported: list[str] = Field(description="The same; there are no ID tokens here.")


class AccessTokenBody(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"access_token": "eyJhbGciOi…", "token_type": "Bearer", "expires_in": 600, "scope": "points:read"}
            ]
        }
    )

    access_token: str = Field(description="RFC 9068: a JWT of the type at+jwt.")
    token_type: str
    expires_in: int = Field(description="Seconds.")
    scope: str = Field(description="What the token opens, separated by blanks.")


class IntrospectionBody(BaseModel):
    """RFC 7662. For an inactive token, only that."""

    active: bool
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = Field(None, description="The designated user.")
    client_id: str | None = None
    scope: str | None = None
    tenant: str | None = None
    iat: int | None = None
    exp: int | None = None
    jti: str | None = None


class AuthorityEventBody(BaseModel):
    """One row of the audit; never the token."""

    event_id: str
    event: EventKind
    reason: str | None = Field(description="The error of a refusal; why a token is inactive or was revoked.")
    client_id: str | None = Field(description="Who asked; of a refusal, who it claimed to be.")
    subject: str | None = Field(description="The designated user.")
    jti: str | None
    token_client_id: str | None = Field(description="Whose token it is that was asked about.")
    grant_type: str | None
    scope: str | None
    consent_version: int | None
    request_id: str
    happened_at: Timestamp
    expires_at: Timestamp | None = Field(description="Of a token that was issued.")


class EventsQuery(BaseModel):
    """A page of the audit, newest first."""

    model_config = ConfigDict(extra="forbid")

    client_id: Identifier | None = Field(None, description="Of one client: what it asked, and its tokens.")
    event: EventKind | None = None
    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=200)


class AuthorityEventsBody(BaseModel):
    events: list[AuthorityEventBody]
    next_cursor: NextCursor


class ErrorBody(BaseModel):
    """A refusal (RFC 6749, 5.2)."""

    error: str
    error_description: str
    request_id: str | None = Field(description="Tell it to the operators.")


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


_CLIENT: Final[Mapping[str, Any]] = {
    "client_id": _text("With client_secret, in place of Basic."),
    "client_secret": _text("Basic is better: forms are more easily logged."),
    "client_assertion_type": _text("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    "client_assertion": _text("A JWT that the client signed with a key from its registered JWKS, good once."),
}


def _form(required: list[str], **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": {**properties, **_CLIENT}}
    content = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}, "security": [{"basic": []}, {}]}


TOKEN_FORM: Final = _form(
    ["grant_type"],
    grant_type=_text("How.", enum=["authorization_code", "client_credentials"]),
    code=_text("authorization_code: from the redirect after the consent, good once and for a minute."),
    redirect_uri=_text("authorization_code: exactly as it was asked with."),
    code_verifier=_text("authorization_code: PKCE, to the S256 challenge; none where there was no challenge."),
    scope=_text("client_credentials: fewer scopes than there could be, separated by blanks."),
)
INTROSPECTION_FORM: Final = _form(
    ["token"], token=_text("An access token."), token_type_hint=_text("Not needed: there is one kind.")
)
#: RFC 6749, 5.2; beside it that something else about the request is wrong, and that it may be repeated.
_ERRORS_OF_STATUS: Final = {
    400: ["invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type"],
    401: ["invalid_client"],
    403: ["invalid_client", "invalid_request"],
    404: ["invalid_request"],
    408: ["invalid_request"],
    413: ["invalid_request"],
    415: ["invalid_request"],
    429: ["temporarily_unavailable"],
    500: ["server_error"],
    503: ["temporarily_unavailable"],
}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    **{
        status: {
            "model": ErrorBody,
            "description": "Refused: " + ", ".join(f"`{error}`" for error in errors),
            "content": {"application/json": {"x-codes": errors}},
        }
        for status, errors in _ERRORS_OF_STATUS.items()
    },
    "4XX": {"model": ErrorBody, "description": "Refused"},
    "5XX": {"model": ErrorBody, "description": "Failed"},
}
