"""`POST /v1/tokens/import`: a target list in, the same rows with tokens and links out."""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.message import Message
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field, create_model
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.errors import Malformed, UnsupportedMediaType
from shared.line_exchange import LinesResponse, body_of
from shared.lists.csv_lists import MalformedHeader
from shared.lists.encodings import UnreadableList
from shared.problems import document_refusals

from token_service.imports.dry_runs import DryRun
from token_service.imports.finishing import Finishing
from token_service.imports.importing import import_rows
from token_service.imports.lists import CSV, NDJSON, CsvTargets, NdjsonTargets, TargetList
from token_service.imports.rows import DEFAULTS, RowProblem, RowReader
from token_service.imports.writing import RowWriter, RowWriters, Writer
from token_service.tokens.routes import ISSUE
from token_service.tokens.schemas import CODE_OF_FIELD
from token_service.tokens.terms import Rules

R = TypeVar("R")

router = APIRouter(prefix="/v1/tokens", tags=["tokens"], dependencies=document_credentials())

_NDJSON_TYPES: Final = frozenset({NDJSON, "application/ndjson", "application/jsonl", "application/json-lines"})
_EXAMPLE: Final = "customer_id,duration\ncustomer-1,PT24H\ncustomer-2,PT24H\n"
_LIST: Final = {
    CSV: {"schema": {"type": "string"}, "example": _EXAMPLE},
    NDJSON: {"schema": {"type": "string"}},
}


class _ListQuery(BaseModel):
    """What is the same for all rows of a list."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Say what would become of each row, and do nothing.")
    renew: bool = Field(
        False, description="Issue a new token for a row whose `reference` has an expired or a revoked one."
    )

    def defaults(self) -> dict[str, str]:
        """What rows get that have no value of their own."""
        given = self.model_dump(include=set(DEFAULTS))
        return {name: value for name, value in given.items() if value}


_Default = Annotated[str | None, Field(description="For rows that have none of their own.", max_length=2048)]

if TYPE_CHECKING:

    class ListQuery(_ListQuery): ...

else:
    ListQuery = create_model("ListQuery", __base__=_ListQuery, **dict.fromkeys(DEFAULTS, (_Default, None)))


@router.post(
    "/import",
    summary="Issue tokens for a target list",
    response_class=LinesResponse,
    # The rows in memory are bounded, whatever the length of the list.
    max_body_size=sys.maxsize,
    openapi_extra={"requestBody": {"required": True, "content": _LIST}},
    responses={
        200: {"description": "The rows in their order, each with token and link, or error", "content": _LIST},
        **document_refusals(
            [UnreadableList, MalformedHeader], malformed=["idempotency_key_not_taken", *CODE_OF_FIELD.values()]
        ),
    },
)
async def import_list(
    request: Request,
    query: Annotated[ListQuery, Query()],
    rules: Annotated[Rules, needs(Rules)],
    writers: Annotated[RowWriters, needs(RowWriters)],
    idempotency_key: Annotated[str | None, Header(include_in_schema=False)] = None,
    caller: Caller = require(ISSUE),
) -> LinesResponse:
    """CSV with a header, or NDJSON, of any number of rows, in constant memory. Bad rows are named, good ones land.

    Columns: `base_url`, `customer_id`, `campaign_id`, `duration`, `product_id`, `max_uses`, `not_before`,
    `attributes.<name>` (NDJSON: `attributes`), and `reference`; others are only echoed. A row with a `reference` may
    be imported again, and gets the token it had: so an import that broke off is simply repeated.
    """
    if idempotency_key is not None:
        raise Malformed(
            "An import takes no Idempotency-Key: give its rows a reference, which makes each of them repeatable.",
            code="idempotency_key_not_taken",
        )
    try:
        reader = RowReader(query.defaults(), rules)
    except RowProblem as problem:
        raise Malformed(f"{problem.field}: {problem.message}", code=CODE_OF_FIELD.get(problem.field or "")) from None
    media_type, charset = _type_of(request.headers.get("content-type", ""))
    writing = DryRun if query.dry_run else RowWriter
    writer = writing(writers, caller.tenant, renew=query.renew)
    finishing = None if query.dry_run else Finishing(writers.database, caller.tenant, caller.client_id)
    chunks = body_of(request)
    if media_type == CSV:
        return _answer(writer, await CsvTargets.open(chunks, charset, reader), finishing)
    if media_type in _NDJSON_TYPES:
        return _answer(writer, await NdjsonTargets.open(chunks, charset, reader), finishing)
    raise UnsupportedMediaType(f"The body must be {CSV} or {NDJSON}.")


def _type_of(content_type: str) -> tuple[str, str | None]:
    """Media type, and character set where one is named."""
    message = Message()
    message["Content-Type"] = content_type
    return content_type.partition(";")[0].strip().lower(), message.get_content_charset()


def _answer(writer: Writer, targets: TargetList[R], finishing: Finishing | None) -> LinesResponse:
    return LinesResponse(_answered(writer, targets, finishing), targets.media_type)


async def _answered(
    writer: Writer, target_list: TargetList[R], finishing: Finishing | None
) -> AsyncGenerator[bytes, None]:
    yield target_list.head
    shape = target_list.shape if finishing is None else finishing.counting(target_list.shape)
    async with aclosing(import_rows(writer, target_list.blocks(), shape)) as answers:
        async for answered in answers:
            yield answered
    if finishing is not None:
        await finishing.record()
