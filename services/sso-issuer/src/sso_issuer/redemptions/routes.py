"""Redemptions over HTTP."""

from typing import Final

from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer

from sso_issuer.redemptions.domain import TokenAlreadyRedeemed, TokenNotIssued, TokenRefused
from sso_issuer.redemptions.schemas import TOKEN_EXAMPLE, RedeemedBody, TokenBody
from sso_issuer.redemptions.service import Redeemed, Redemptions
from sso_issuer.vendors.domain import VendorNotFound


async def _redeem(call: HotCall[TokenBody]) -> Answer:
    return await call.part(Redemptions).redeem_once(
        call.caller, call.body.token, request_id=call.scope["state"]["request_id"], key=call.key, shape=_answer_of
    )


REDEEM_TOKEN: Final = HotRoute(
    method="POST",
    path="/sso/v1/tokens/redeem",
    name="redeem_token",
    tag="redemptions",
    summary="Take a token back, once",
    scopes=("points:redeem",),
    operations=HotOperation(
        _redeem,
        body=TokenBody,
        answers={200: Answered("Redeemed", RedeemedBody)},
        refusals=(VendorNotFound, TokenRefused, TokenNotIssued, TokenAlreadyRedeemed),
        example=TOKEN_EXAMPLE,
    ),
)


def _answer_of(redeemed: Redeemed) -> Answer:
    return Answer.of(200, {**redeemed.claims, "points_now": redeemed.points_now}, Cache_Control="no-store")
