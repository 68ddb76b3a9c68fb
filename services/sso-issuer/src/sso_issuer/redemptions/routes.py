"""Redemptions over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey

from sso_issuer.redemptions.schemas import RedeemedBody, TokenBody
from sso_issuer.redemptions.service import Redeemed, Redemptions

router = APIRouter(prefix="/sso/v1/tokens", tags=["redemptions"], dependencies=document_credentials())


@router.post("/redeem", summary="Take a token back, once", response_model=RedeemedBody)
async def redeem_token(
    body: TokenBody,
    request: Request,
    redemptions: Annotated[Redemptions, needs(Redemptions)],
    caller: Annotated[Caller, require("points:redeem")],
    key: IdempotencyKey,
) -> Response:
    answer = await redemptions.redeem_once(
        caller, body.token, request_id=request.state.request_id, key=key, shape=_answer_of
    )
    return answer.response()


def _answer_of(redeemed: Redeemed) -> Answer:
    return Answer.of(200, {**redeemed.claims, "points_now": redeemed.points_now}, Cache_Control="no-store")
