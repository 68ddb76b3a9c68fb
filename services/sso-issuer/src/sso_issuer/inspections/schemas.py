"""Bodies of inspections and examples."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sso_issuer.inspections.domain import Inspection
from sso_issuer.inspections.examples import Example


class InspectedTokenBody(BaseModel):
    """What was received as a token, whatever it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "eyJhbGciOi…"}]})

    token: str = Field(strict=True, max_length=32_768)


class FindingBody(BaseModel):
    code: str = Field(examples=["expired"])
    message: str
    fix: str
    by_seconds: int | None = Field(None, description="For `expired` and `not_yet_valid`.")


class InspectionBody(BaseModel):
    """All that is wrong with a token."""

    verdict: Literal["good", "bad"]
    header: Mapping[str, Any] | None = Field(description="Null if it cannot be read.")
    claims: Mapping[str, Any] | None = Field(description="Null unless the token is this vendor's.")
    findings: list[FindingBody]

    @classmethod
    def of(cls, inspection: Inspection) -> "InspectionBody":
        return cls(
            verdict="bad" if inspection.findings else "good",
            header=inspection.header,
            claims=inspection.claims,
            findings=[
                FindingBody(code=one.code, message=one.message, fix=one.fix, by_seconds=one.by_seconds)
                for one in inspection.findings
            ],
        )


class ExampleBody(BaseModel):
    name: str = Field(examples=["wrong_audience"])
    token: str
    expect: Literal["accept", "refuse"]
    why: str


class ExamplesBody(BaseModel):
    """Tokens of a user who does not exist. None of them can be redeemed."""

    examples: list[ExampleBody]

    @classmethod
    def of(cls, examples: list[Example]) -> "ExamplesBody":
        return cls(
            examples=[
                ExampleBody(name=one.name, token=one.token, expect="accept" if one.is_good else "refuse", why=one.why)
                for one in examples
            ]
        )
