"""Settings that two people change at once: `ETag` on what is read, `If-Match` on what is written (RFC 9110, 13.1).

    @router.put(…)
    async def set_vendor(…, condition: Condition) -> …:
        vendor = await service.set(…, condition)
        response.headers["ETag"] = etag_of(vendor.settings)

The service calls `condition.check` in the transaction that writes, with the row locked. A caller that sends neither
header overwrites, as before.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Header

from shared.errors import PreconditionFailed
from shared.problems import document_problems

#: Of the answer that reads or writes such settings, for OpenAPI.
ETAG_HEADER: Final[Mapping[str, Any]] = {
    "ETag": {
        "description": "Names this state. Send it back as `If-Match`, and you overwrite nobody else's change.",
        "schema": {"type": "string"},
        "example": '"2f6b1d0a5c8e4f7391b0"',
    }
}
_PATTERN: Final = r'^\s*(\*|(W/)?"[!#-~]*"(\s*,\s*(W/)?"[!#-~]*")*)\s*$'
_IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        pattern=_PATTERN,
        description="The `ETag` that you read: the change is made if there was no other since. `*`: if it exists.",
    ),
]
_IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", pattern=r"^\s*\*\s*$", description="`*`: only if it does not exist yet.")
]


@dataclass(frozen=True, slots=True)
class Precondition:
    """What a caller takes for the present state.

    Args:
        tags: any of these; None for any state, also none.
        is_new: it must not exist.
    """

    tags: frozenset[str] | None = None
    is_new: bool = False

    def check(self, present: object | None) -> None:
        """`present` are the settings as they are; None if there are none.

        Raises:
            PreconditionFailed
        """
        tag = None if present is None else etag_of(present)
        if self.is_new and tag is not None:
            raise PreconditionFailed("This exists already.")
        if self.tags is not None and (tag is None or not self.tags & {tag, "*"}):
            raise PreconditionFailed("This has been changed since you read it. Read it again.", etag=tag)


ANY_STATE: Final = Precondition()


def _precondition(if_match: _IfMatch = None, if_none_match: _IfNoneMatch = None) -> Precondition:
    # Weak tags (`W/"…"`) never match here: what is overwritten must be the same, not alike.
    tags = None if if_match is None else frozenset(tag.strip() for tag in if_match.split(","))
    return Precondition(tags, is_new=if_none_match is not None)


#: What a route takes: `condition: Condition`.
Condition = Annotated[Precondition, Depends(_precondition)]


def etag_of(settings: object) -> str:
    """The strong tag of settings: of a dataclass, a dictionary or a list of such."""
    text = orjson.dumps(settings, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return f'"{hashlib.blake2b(text, digest_size=10).hexdigest()}"'


def document_condition(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of an operation that takes a condition, for OpenAPI: `ETag` with these statuses, and 412."""
    answers: dict[int | str, dict[str, Any]] = {status: {"headers": ETAG_HEADER} for status in statuses}
    return answers | {412: document_problems("Refused: `precondition_failed`", ["precondition_failed"])}
