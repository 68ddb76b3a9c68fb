"""Two people who change the same settings: the second one notices, if it asked to."""

import httpx
import pytest
from fastapi import FastAPI
from shared.errors import PreconditionFailed
from shared.preconditions import Condition, Precondition, etag_of
from shared.problems import status_of

SETTINGS = {"hold_seconds": 900}
TAG = etag_of(SETTINGS)


@pytest.mark.parametrize(
    ("headers", "present", "passes"),
    [
        ({}, None, True),
        ({}, SETTINGS, True),
        ({"If-Match": TAG}, SETTINGS, True),
        ({"If-Match": f'"other", {TAG}'}, SETTINGS, True),
        ({"If-Match": "*"}, SETTINGS, True),
        ({"If-None-Match": "*"}, None, True),
        ({"If-Match": TAG}, {"hold_seconds": 901}, False),
        ({"If-Match": TAG}, None, False),
        ({"If-Match": "*"}, None, False),
        ({"If-Match": f"W/{TAG}"}, SETTINGS, False),
        ({"If-None-Match": "*"}, SETTINGS, False),
    ],
)
async def test_a_change_is_made_to_the_state_that_the_caller_named_and_to_no_other(
    headers: dict[str, str], present: object, passes: bool
) -> None:
    app = FastAPI()

    @app.put("/settings")
    async def put(condition: Condition) -> bool:
        try:
            condition.check(present)
        except PreconditionFailed:
            return False
        return True

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sample") as http:
        assert (await http.put("/settings", headers=headers)).json() is passes


@pytest.mark.parametrize("headers", [{"If-Match": "900"}, {"If-Match": '"a" "b"'}, {"If-None-Match": '"a"'}])
async def test_a_header_that_is_no_list_of_tags_is_refused_and_not_ignored(headers: dict[str, str]) -> None:
    app = FastAPI()

    @app.put("/settings")
    async def put(condition: Condition) -> bool:
        return True

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sample") as http:
        assert (await http.put("/settings", headers=headers)).status_code == 422


def test_a_refusal_is_412_and_names_the_state_that_there_is() -> None:
    with pytest.raises(PreconditionFailed) as refused:
        Precondition(frozenset({'"old"'})).check(SETTINGS)
    assert status_of(refused.value) == 412
    assert refused.value.members == {"etag": TAG}


def test_equal_settings_have_one_tag_in_whatever_order_they_were_written() -> None:
    assert etag_of({"a": 1, "b": {"c": 2}}) == etag_of({"b": {"c": 2}, "a": 1})
    assert etag_of({"a": 1}) != etag_of({"a": 2})
