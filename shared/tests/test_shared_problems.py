"""From a kind of refusal to its status, body and headers."""

import orjson
import pytest
from shared.database_failures import OutcomeUnknown
from starlette.requests import Request

from shared import errors, problems

from .scopes import scope_of

STATUSES = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PayloadTooLarge: 413,
    errors.PreconditionFailed: 412,
    errors.UnsupportedMediaType: 415,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}


@pytest.mark.parametrize(("kind", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_each_kind_has_its_status_and_what_is_below_it_too(kind: type[errors.Refusal], status: int) -> None:
    named = type("Named", (kind,), {"code": "named_refusal"})
    assert problems.status_of(kind("No.")) == status
    assert problems.status_of(named("No.")) == status
    body = problems.problem_body(named("No."), "id-1")
    assert body == {
        "type": "/developers/codes#named_refusal",
        "title": body["title"],
        "status": status,
        "detail": "No.",
        "code": "named_refusal",
        "request_id": "id-1",
    }


def test_every_kind_is_known() -> None:
    assert set(problems.STATUS_OF_KIND) == {*STATUSES, errors.Unexpected}
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)}
    assert kinds - {errors.Refusal} == set(problems.STATUS_OF_KIND)
    codes = [kind.code for kind in problems.STATUS_OF_KIND]
    assert len(set(codes)) == len(codes)


def test_a_refusal_may_name_its_code_and_members() -> None:
    refusal = errors.Conflict("No.", code="hold_expired", log="for the log", state="expired", points=7)
    body = problems.problem_body(refusal, None)
    assert (body["code"], body["state"], body["points"]) == ("hold_expired", "expired", 7)
    assert "request_id" not in body
    assert "for the log" not in str(body)


@pytest.mark.parametrize(
    "refusal",
    [errors.Unavailable(), errors.Unavailable(log="x"), errors.TooManyRequests("Slowly."), OutcomeUnknown()],
)
def test_429_and_503_always_say_when_to_come_again(refusal: errors.Refusal) -> None:
    assert int(problems.headers_of(refusal)["Retry-After"]) >= 1


def test_when_to_come_again_can_be_said() -> None:
    assert problems.headers_of(errors.TooManyRequests("Slowly.", retry_after_seconds=30))["Retry-After"] == "30"
    assert problems.headers_of(errors.Unavailable(retry_after_seconds=30))["Retry-After"] == "30"
    assert problems.headers_of(errors.Conflict("No.", retry_after_seconds=2))["Retry-After"] == "2"
    assert "Retry-After" not in problems.headers_of(errors.Conflict("No."))


def test_401_says_which_credentials_are_taken() -> None:
    challenge = problems.headers_of(errors.Unauthenticated("Who?"))["WWW-Authenticate"]
    assert challenge.startswith('Basic realm="')
    assert ', Bearer realm="' in challenge
    for kind in set(STATUSES) - {errors.Unauthenticated}:
        assert "WWW-Authenticate" not in problems.headers_of(kind("No."))


def test_refusals_are_not_stored_by_anybody_on_the_way() -> None:
    for kind in STATUSES:
        assert problems.headers_of(kind("No."))["Cache-Control"] == "no-store"


def test_an_unexpected_error_says_nothing_of_the_inside() -> None:
    response = problems.problem_response(errors.Unexpected(), Request(scope_of() | {"state": {"request_id": "id-1"}}))
    assert response.status_code == 500
    assert response.media_type == "application/problem+json"
    assert orjson.loads(response.body)["request_id"] == "id-1"
    assert orjson.loads(response.body)["code"] == "internal_error"
