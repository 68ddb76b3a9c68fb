"""Receipts over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.errors import Unavailable
from shared.identifiers import Identifier
from shared.paths import IDENTIFIER
from shared.problems import document_refusals
from shared.reports import ReportRoute

from points_ledger.domain.transactions import State, TransactionNotFound
from points_ledger.eai import schemas
from points_ledger.eai.operations import SCOPE
from points_ledger.receipts.service import NoReceipt, ReceiptService, TransactionStillHeld

router = APIRouter(
    prefix="/eai/v1",
    tags=["EAI"],
    dependencies=document_credentials(),
    responses=schemas.FAILED,
    route_class=ReportRoute,
)


class ReceiptBody(BaseModel):
    """How a transaction ended, and the proof."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "transactionid": "order-4711",
                    "state": "confirmed",
                    "receipt": "eyJhbGciOiJFUzI1NiIsInR5cCI6InJlY2VpcHQrand0In0.eyJpc3MiOiIuLi4ifQ.c2ln",
                }
            ]
        }
    )

    transactionid: str
    state: Annotated[State, Field(description="`confirmed` (refunded or not), `rolled_back` or `expired`.")]
    receipt: Annotated[
        str,
        Field(
            description="A compact JWS: ES256, `typ: receipt+jwt`, under a key of "
            "`<tenant authority>/receipts/jwks.json`. Its claims are `iss`, `aud` (the vendor id), `iat`, `jti`, "
            "`vendor_id`, `transactionid`, `userid`, `state`, `points_held`, `points_deducted`, `points_refunded`, "
            "`created_at` and `ended_at`."
        ),
    ]


@router.get(
    f"/receipts/{{transactionid:{IDENTIFIER}}}",
    summary="A signed receipt of how a transaction ended",
    responses=document_refusals(
        [TransactionNotFound, TransactionStillHeld, NoReceipt, Unavailable], schemas.document_failures
    ),
)
async def find_receipt(
    service: Annotated[ReceiptService, needs(ReceiptService)],
    transactionid: Annotated[Identifier, Path()],
    caller: Caller = require(SCOPE),
) -> ReceiptBody:
    """Anybody can check it years later with any JOSE library. It may be asked for again at any time; after a refund it
    says something new."""
    found = await service.receipt_of(caller, transactionid)
    return ReceiptBody(transactionid=transactionid, state=found.transaction.state, receipt=found.signed)
