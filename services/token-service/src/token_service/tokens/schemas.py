"""What goes over the wire."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)
from shared.times import Timestamp, iso

from token_service.tokens.domain import CallerKind, Token, TokenState
from token_service.tokens.issuing import Issued
from token_service.tokens.lifetimes import SCHEMA as DURATION_SCHEMA
from token_service.tokens.lifetimes import read_duration
from token_service.tokens.orders import url_link
from token_service.tokens.terms import CHANGEABLE, MOMENT, REQUIRED, TERMS, Order, Rules, Terms, read_moment

ORDER_EXAMPLE: Final[dict[str, Any]] = {
    "base_url": "https://mystore.example/promotions",
    "customer_id": "customer-1",
    "campaign_id": "spring-sale",
    "duration": "PT24H",
    "product_id": "housing",
    "attributes": {"discount": 50, "segment": "gold"},
    "max_uses": 1,
}
VISIT_EXAMPLE: Final[dict[str, Any]] = {
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "method": "GET",
    "address": "203.0.113.9",
}
CHANGE_EXAMPLE: Final[dict[str, Any]] = {"max_uses": 5, "expires_at": "2026-12-24T12:00:00Z"}
#: Fields whose malformation has a stable code of its own.
CODE_OF_FIELD: Final[Mapping[str, str]] = {
    "base_url": "malformed_base_url",
    "duration": "malformed_duration",
    "destination_url": "malformed_destination_url",
}
_OPTIONAL: Final = frozenset(TERMS) - frozenset(REQUIRED)
#: `expires_at` was given and is refused already.
_MISREAD: Final = object()
_LIFETIME: Final[Any] = [{"required": ["duration"]}, {"required": ["expires_at"]}]


def _rules(info: ValidationInfo) -> Rules:
    return Rules(plain_http=bool((info.context or {}).get("plain_http")))


def _read(name: str, read: Callable[[Any, Rules], Any], schema: Mapping[str, Any]) -> Any:
    """A field of JSON that is read as a row of a target list is."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        return None if value is None and name in _OPTIONAL else read(value, _rules(info))

    described = dict(schema) if name not in _OPTIONAL else {"anyOf": [dict(schema), {"type": "null"}]}
    return Annotated[Any, PlainValidator(validate), WithJsonSchema(described)]


def _duration_unless_end(value: Any, info: ValidationInfo) -> Any:
    """An order says either how long its token is good, or until when."""
    if value == "" and info.data.get("expires_at", _MISREAD) is not None:
        return None
    if value != "" and info.data.get("expires_at") is not None:
        raise ValueError("must not be given beside expires_at")
    return read_duration(value)


class _OrderBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [ORDER_EXAMPLE], "oneOf": _LIFETIME})

    expires_at: Annotated[
        Any, PlainValidator(lambda value, info: read_moment(value, _rules(info))), WithJsonSchema(dict(MOMENT))
    ] = None
    #: Behind `expires_at`, which it looks at.
    duration: Annotated[
        Any,
        PlainValidator(_duration_unless_end),
        WithJsonSchema(dict(DURATION_SCHEMA)),
        Field(default_factory=str, validate_default=True),
    ]

    def order(self) -> Order:
        lifetime = self.duration if self.expires_at is None else self.expires_at
        return Order(Terms._make(getattr(self, name) for name in TERMS), lifetime)


if TYPE_CHECKING:

    class OrderBody(_OrderBody): ...

else:
    OrderBody = create_model(
        "OrderBody",
        __base__=_OrderBody,
        __doc__="A token to issue. Each verification returns everything except `base_url`.",
        **{
            name: (_read(name, term.read, term.schema), None if name in _OPTIONAL else ...)
            for name, term in TERMS.items()
        },
    )


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


#: Python reads a number, and true, as an address as well.
_Address = Annotated[IPvAnyAddress, BeforeValidator(_text)]


class VisitBody(BaseModel):
    """The visitor, as far as the customer's back end knows. For statistics, and against guessing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [VISIT_EXAMPLE]},
    )

    user_agent: Annotated[str, Field(strict=True, max_length=4096)] | None = None
    method: Annotated[str, Field(strict=True, max_length=32)] | None = None
    purpose: (
        Annotated[str, Field(strict=True, max_length=128, description="The browser's Sec-Purpose or Purpose.")] | None
    ) = None
    address: _Address | None = None
    spare: (
        Annotated[
            list[Literal[CallerKind.BOT, CallerKind.SCANNER]],
            Field(max_length=2, description="Kinds of callers that are counted and use nothing up."),
        ]
        | None
    ) = None


class IssuedBody(BaseModel):
    """A token, and the link with it."""

    token: Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["2548a499367f4c2f87fd4873a97a6ff6"])]
    url_link: Annotated[str, Field(description="base_url + / + token", json_schema_extra={"format": "uri"})]
    issued_at: Timestamp
    expires_at: Timestamp | None


class _TokenBody(IssuedBody):
    uses: Annotated[int, Field(ge=0, description="This one included; without those that were spared.")]


#: What `token_body` says of the terms, as JSON Schema.
TERMS_SCHEMA: Final[dict[str, Any]] = {
    name: dict(term.schema) if name in REQUIRED else {"anyOf": [dict(term.schema), {"type": "null"}]}
    for name, term in TERMS.items()
}
_SHOWN_TERMS: Final[dict[str, Any]] = {
    name: (Annotated[Any, WithJsonSchema(schema)], ...) for name, schema in TERMS_SCHEMA.items()
}
TokenBody: Final = create_model(
    "TokenBody",
    __base__=_TokenBody,
    __doc__="Everything that a token encodes, and how often it was used.",
    **_SHOWN_TERMS,
)


class _LookBody(_TokenBody):
    state: TokenState
    revoked_at: Timestamp | None


LookBody: Final = create_model(
    "LookBody",
    __base__=_LookBody,
    __doc__="Everything that a token encodes, how often it was used, and what has become of it.",
    **_SHOWN_TERMS,
)


class ChangeBase(BaseModel):
    """What is changed; what is not named stays as it is. `attributes` are replaced as a whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CHANGE_EXAMPLE], "minProperties": 1})

    expires_at: Annotated[
        Any,
        PlainValidator(lambda value, info: None if value is None else read_moment(value, _rules(info))),
        WithJsonSchema({"anyOf": [dict(MOMENT), {"type": "null"}], "description": "Before the end it was made with."}),
    ] = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name what is changed")
        return self

    def changed(self) -> dict[str, Any]:
        """The values by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


if TYPE_CHECKING:

    class ChangeBody(ChangeBase): ...

else:
    ChangeBody = create_model(
        "ChangeBody",
        __base__=ChangeBase,
        __doc__=ChangeBase.__doc__,
        **{name: (_read(name, TERMS[name].read, TERMS[name].schema), None) for name in CHANGEABLE},
    )


class RevokedTokenBody(BaseModel):
    token: str
    revoked_at: Timestamp


class TokenStatisticsBody(BaseModel):
    """What has become of a token so far."""

    token: str
    customer_id: str
    campaign_id: str
    issued_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    max_uses: int | None
    issued: int
    verified: int
    spared: Annotated[int, Field(description="Verifications that used nothing up.")]
    verified_by: Annotated[dict[str, int], Field(description="`person`, `bot`, `scanner`")]
    distinct: int
    first_verified_at: Timestamp | None
    last_verified_at: Timestamp | None
    refused: Annotated[dict[str, int], Field(description="By code.")]


def look_body(text: str, token: Token, state: TokenState) -> dict[str, Any]:
    """The same as `token_body`, and what has become of the token."""
    return {**token_body(text, token), "state": state.value, "revoked_at": _iso(token.revoked_at)}


def issued_body(issued: Issued) -> dict[str, Any]:
    return {
        "token": issued.token,
        "url_link": issued.url_link,
        "issued_at": iso(issued.content.issued_at),
        "expires_at": _iso(issued.content.expires_at),
    }


def revoked_body(text: str, revoked_at: datetime) -> dict[str, Any]:
    return {"token": text, "revoked_at": iso(revoked_at)}


def stats_body(text: str, token: Token, refusals: dict[str, int]) -> dict[str, Any]:
    """What has become of a token so far."""
    content, uses = token.content, token.uses
    return {
        "token": text,
        "customer_id": content.terms.customer_id,
        "campaign_id": content.terms.campaign_id,
        "issued_at": iso(content.issued_at),
        "expires_at": _iso(content.expires_at),
        "revoked_at": _iso(token.revoked_at),
        "max_uses": content.terms.max_uses,
        "issued": 1,
        "verified": uses.total,
        "spared": uses.spared,
        "verified_by": {"person": uses.by_people, "bot": uses.by_bots, "scanner": uses.by_scanners},
        "distinct": int(uses.by_people > 0),
        "first_verified_at": _iso(uses.first_at),
        "last_verified_at": _iso(uses.last_at),
        "refused": refusals,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def token_body(text: str, token: Token) -> dict[str, Any]:
    """Everything that a token encodes, and how often it was used."""
    content = token.content
    return {
        "token": text,
        "url_link": url_link(content.terms.base_url, text),
        "issued_at": iso(content.issued_at),
        "expires_at": _iso(content.expires_at),
        **{name: term.shown(value) for (name, term), value in zip(TERMS.items(), content.terms, strict=True)},
        "uses": token.uses.used_up,
    }
