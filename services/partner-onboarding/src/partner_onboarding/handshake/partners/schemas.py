"""Bodies of the partner interface, in the camelCase of the source."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from shared.spreadsheets import csv_lines
from shared.times import Timestamp, iso

from partner_onboarding.handshake.handshakes.domain import CODE_CHARACTERS, Codes
from partner_onboarding.handshake.links.periods import Assignment, Bill
from partner_onboarding.handshake.links.service import Events

_CODE = r"^[1-9A-HJ-NP-Za-km-z]{22}$"


class _SpelledAsInTheSource(BaseModel):
    """`register_code` here is `registerCode` on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class CodesBody(_SpelledAsInTheSource):
    """A pair of codes for one person, good for one hour."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "registerCode": "vrQc4sFaJGbpoga4AjuanC",
                    "authorizationCode": "9WXeX4kUBQrMrHHoTAKSAn",
                    "expiresAt": "2026-12-29T15:30:39.008Z",
                }
            ]
        }
    )

    register_code: Annotated[str, Field(pattern=_CODE, description="Public: goes into the registration link.")]
    authorization_code: Annotated[
        str, Field(pattern=_CODE, description="Private: comes back to the landing URL. Compare it with the one kept.")
    ]
    expires_at: Timestamp


class HintQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hint: Annotated[
        str | None,
        Field(
            max_length=200,
            description="For whom: an e-mail address or a name. The pages show its beginnings, so that a person who "
            "was sent somebody else's link can see it.",
        ),
    ] = None


class RedemptionBody(_SpelledAsInTheSource):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"authorizationCode": "9WXeX4kUBQrMrHHoTAKSAn"}]}
    )

    authorization_code: Annotated[
        str, Field(strict=True, max_length=64, description=f"{CODE_CHARACTERS} base58 characters.")
    ]


class RedeemedHandshakeBody(_SpelledAsInTheSource):
    user_id: str


class ActivationBody(_SpelledAsInTheSource):
    user_id: str
    activated_at: Annotated[Timestamp, Field(description="Since when; a repeated call tells the first time again.")]


class RemovalBody(_SpelledAsInTheSource):
    user_id: str
    removed_at: Timestamp


class AssignmentBody(_SpelledAsInTheSource):
    months: int
    assigned_at: Timestamp


class UserEventsBody(_SpelledAsInTheSource):
    """What has happened with one user; empty lists are left out."""

    activation_dates: list[Timestamp] | None = None
    removal_dates: list[Timestamp] | None = None
    assignments: list[AssignmentBody] | None = None


class BilledAssignmentBody(_SpelledAsInTheSource):
    user_id: str
    months: int
    assigned_at: Timestamp


class BillBody(_SpelledAsInTheSource):
    """A month's bill: every assignment that begins in it (UTC), and how many months they are together."""

    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$", examples=["2026-11"])]
    assignments: list[BilledAssignmentBody]
    sum: int


def codes_shown(codes: Codes) -> dict[str, str]:
    return {
        "registerCode": codes.register_code,
        "authorizationCode": codes.authorization_code,
        "expiresAt": iso(codes.expires_at),
    }


def events_shown(events: dict[str, Events]) -> dict[str, dict[str, Any]]:
    return {user_id: _events(of_user) for user_id, of_user in events.items()}


def _events(events: Events) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {
        "activationDates": [iso(moment) for moment in events.activations],
        "removalDates": [iso(moment) for moment in events.removals],
        "assignments": [_assignment(assignment) for assignment in events.assignments],
    }
    return {name: entries for name, entries in lists.items() if entries}


def _assignment(assignment: Assignment) -> dict[str, Any]:
    return {"months": assignment.months, "assignedAt": iso(assignment.assigned_at)}


def bill_shown(bill: Bill) -> dict[str, Any]:
    return {
        "month": bill.month_written,
        "assignments": [{"userId": one.user_id, **_assignment(one)} for one in bill.assignments],
        "sum": bill.sum,
    }


def bill_as_csv(bill: Bill) -> str:
    """One line for each assignment (RFC 4180)."""
    head = ("month", "userId", "months", "assignedAt")
    rows = ((bill.month_written, one.user_id, one.months, iso(one.assigned_at)) for one in bill.assignments)
    return csv_lines([head, *rows])
