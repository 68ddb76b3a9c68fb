"""The partner interface over HTTP, in the spelling and with the status codes of its source.

Two of its GETs change something, as in the source. A repeat of either has no second effect, and each has a POST twin
that takes an `Idempotency-Key`.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Request
from shared.callers import Caller, document_credentials
from shared.dependencies import needs
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Identifier
from shared.paths import IDENTIFIER
from shared.problems import document_refusals
from shared.web.accept import wants_csv
from starlette.responses import Response

from partner_onboarding.handshake.handshakes.domain import (
    HandshakeExpired,
    HandshakeNotCompleted,
    HandshakeNotFound,
    HandshakeRedeemed,
    MalformedAuthorizationCode,
    MalformedHint,
)
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.links.billing import Billing
from partner_onboarding.handshake.links.domain import LinkNotFound, NoHandshake
from partner_onboarding.handshake.links.periods import MalformedMonth, parse_month
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.partners.access import SCOPE, Maintenance, Partner, admit
from partner_onboarding.handshake.partners.schemas import (
    ActivationBody,
    BillBody,
    CodesBody,
    HintQuery,
    RedeemedHandshakeBody,
    RedemptionBody,
    RemovalBody,
    UserEventsBody,
    bill_as_csv,
    bill_shown,
    codes_shown,
    events_shown,
)
from partner_onboarding.register.users.domain import UserNotFound

router = APIRouter(prefix="/user/partner", tags=["partners"], dependencies=document_credentials())

HandshakeService = Annotated[Handshakes, needs(Handshakes)]
LinkService = Annotated[Links, needs(Links)]
BillingService = Annotated[Billing, needs(Billing)]
UserId = Annotated[Identifier, Path(alias="userId")]
_REFUSED_ACTIVATIONS: Final = document_refusals([UserNotFound, NoHandshake, Maintenance])
_NO_STORE: Final = {"Cache-Control": "no-store"}
_BOTH: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The bill, as JSON or (`Accept: text/csv`) as a table.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


async def _begin_handshake(call: HotCall[None]) -> Answer:
    partner: Caller = call.caller
    codes = await call.part(Handshakes).begin(partner.tenant, partner.client_id, call.query.hint)
    return _answer(codes_shown(codes))


#: Past the framework, which would take longer than the work.
INIT_REGISTER_HANDSHAKE: Final = HotRoute(
    method="GET",
    path="/user/partner/init-register-handshake",
    name="init_register_handshake",
    tag="partners",
    summary="Codes for one person",
    description="A public and a private code, good for one hour and for one person.",
    scopes=(SCOPE,),
    authorize=admit,
    operations=HotOperation(
        _begin_handshake,
        query=HintQuery,
        answers={200: Answered("The codes", CodesBody)},
        refusals=(Maintenance, MalformedHint),
        takes_key=False,
    ),
)


@router.post(
    "/init-register-handshake",
    response_model=CodesBody,
    summary="The same, once by key",
    responses=document_refusals([Maintenance, MalformedHint]),
)
async def init_register_handshake_once(
    handshakes: HandshakeService, partner: Partner, key: IdempotencyKey, asked: Annotated[HintQuery, Query()]
) -> Response:
    """With the same `Idempotency-Key`, the same codes again."""
    answer = await handshakes.begin_once(
        partner.tenant, partner.client_id, asked.hint, key=key, shape=lambda codes: _answer(codes_shown(codes))
    )
    return answer.response()


@router.post(
    "/redeem-handshake",
    response_model=RedeemedHandshakeBody,
    summary="Who came back, once",
    responses=document_refusals(
        [
            MalformedAuthorizationCode,
            HandshakeNotFound,
            HandshakeNotCompleted,
            HandshakeRedeemed,
            HandshakeExpired,
            Maintenance,
        ]
    ),
)
async def redeem_handshake(
    handshakes: HandshakeService, partner: Partner, key: IdempotencyKey, body: RedemptionBody
) -> Response:
    """The user whom the handshake has led to, from server to server: a `userId` that a browser carried to the
    landing URL could have been changed there."""
    answer = await handshakes.redeem_once(
        partner.tenant,
        partner.client_id,
        body.authorization_code,
        key=key,
        shape=lambda user_id: _answer({"userId": user_id}),
    )
    return answer.response()


@router.get(
    f"/activate-user/{{userId:{IDENTIFIER}}}",
    response_model=ActivationBody,
    summary="Activate a user",
    responses=_REFUSED_ACTIVATIONS,
)
@router.post(
    f"/activate-user/{{userId:{IDENTIFIER}}}",
    response_model=ActivationBody,
    name="activate_user_by_post",
    summary="Activate a user",
    responses=_REFUSED_ACTIVATIONS,
)
async def activate_user(links: LinkService, partner: Partner, key: IdempotencyKey, user_id: UserId) -> Response:
    """Assigns the first month, and another one each month until the user is removed. Again: 200, nothing billed
    twice. 403 when no handshake was executed with this user since the last removal."""

    def shape(activated_at: datetime) -> Answer:
        shown = ActivationBody(user_id=user_id, activated_at=activated_at)
        return _answer(shown.model_dump(mode="json", by_alias=True))

    answer = await links.activate_once(partner.tenant, partner.client_id, user_id, key=key, shape=shape)
    return answer.response()


@router.delete(
    f"/remove-user/{{userId:{IDENTIFIER}}}",
    response_model=RemovalBody,
    summary="Remove a user",
    responses=document_refusals([LinkNotFound, Maintenance]),
)
async def remove_user(links: LinkService, partner: Partner, key: IdempotencyKey, user_id: UserId) -> Response:
    """Undoes the connection; months that have begun stay billed. To connect again takes another handshake."""

    def shape(removed_at: datetime) -> Answer:
        return _answer(RemovalBody(user_id=user_id, removed_at=removed_at).model_dump(mode="json", by_alias=True))

    answer = await links.remove_once(partner.tenant, partner.client_id, user_id, key=key, shape=shape)
    return answer.response()


@router.get(
    "/event-list",
    response_model=dict[str, UserEventsBody],
    summary="What has happened, by user",
    responses=document_refusals([Maintenance]),
)
async def event_list(links: LinkService, partner: Partner) -> Response:
    """Everybody who is or was connected."""
    return _json(events_shown(await links.events(partner.tenant, partner.client_id)))


@router.get(
    "/billing",
    response_model=BillBody,
    responses=_BOTH | document_refusals([MalformedMonth, Maintenance]),
    summary="A month's bill",
)
async def bill_of_month(
    billing: BillingService,
    partner: Partner,
    month: Annotated[str, Query(max_length=16, examples=["2026-11"])],
    request: Request,
) -> Response:
    """Agrees with the event list assignment by assignment; one user is billed once a month."""
    bill = await billing.bill(partner.tenant, partner.client_id, parse_month(month))
    if wants_csv(request):
        name = f'attachment; filename="billing-{bill.month_written}.csv"'
        headers = {**_NO_STORE, "Content-Disposition": name, "Billing-Sum": str(bill.sum)}
        return Response(bill_as_csv(bill), headers=headers, media_type="text/csv; charset=utf-8")
    return _json(bill_shown(bill))


def _answer(body: Any) -> Answer:
    return Answer.of(200, body, Cache_Control="no-store")


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), headers=_NO_STORE, media_type="application/json")
