"""The partner interface over HTTP, in the spelling and with the status codes of its source.

Two of its GETs change something, as in the source. A repeat of either has no second effect, and each has a POST twin
that takes an `Idempotency-Key`.
"""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Path, Query
from shared.callers import Caller, document_credentials
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer, Answers, IdempotencyKey, Transaction
from shared.identifiers import Identifier
from starlette.responses import Response

from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.links.billing import Billing
from partner_onboarding.handshake.links.periods import parse_month
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.partners import schemas
from partner_onboarding.handshake.partners.access import SCOPE, Maintenance, Partner, admit

_UserId = Annotated[Identifier, Path(alias="userId")]
_NO_STORE: Final = {"Cache-Control": "no-store"}


async def _begin_handshake(call: HotCall[None]) -> Answer:
    """A public and a private code, good for one hour and for one person."""
    partner: Caller = call.caller
    codes = await call.part(Handshakes).begin(partner.tenant, partner.client_id, call.query.hint)
    return _answer(schemas.codes_shown(codes))


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
        query=schemas.HintQuery,
        answers={200: Answered("The codes", schemas.HandshakeCodes)},
        refusals=(Maintenance,),
        takes_key=False,
    ),
)


def partner_routes(handshakes: Handshakes, links: Links, billing: Billing, answers: Answers) -> APIRouter:
    """The routes below /user/partner."""
    routes = APIRouter(prefix="/user/partner", tags=["partners"], dependencies=document_credentials())

    @routes.post("/init-register-handshake", response_model=schemas.HandshakeCodes, summary="The same, once by key")
    async def init_register_handshake_once(
        partner: Partner, key: IdempotencyKey, query: Annotated[schemas.HintQuery, Query()]
    ) -> Response:
        """With the same `Idempotency-Key`, the same codes again."""

        async def begin(connection: Transaction) -> Answer:
            codes = await handshakes.begin_within(connection, partner.tenant, partner.client_id, query.hint)
            return _answer(schemas.codes_shown(codes))

        return (await answers.once(partner.tenant, partner.client_id, key, begin)).response()

    @routes.post("/redeem-handshake", response_model=schemas.RedeemedHandshake, summary="Who came back, once")
    async def redeem_handshake(partner: Partner, key: IdempotencyKey, body: schemas.HandshakeToRedeem) -> Response:
        """The user of the handshake, server to server. A `userId` that a browser carries to the landing URL could be
        changed."""

        async def redeem(connection: Transaction) -> Answer:
            user_id = await handshakes.redeem(connection, partner.tenant, partner.client_id, body.authorization_code)
            return _answer({"userId": user_id})

        return (await answers.once(partner.tenant, partner.client_id, key, redeem)).response()

    @routes.get("/activate-user/{userId}", response_model=schemas.ActivatedUser, summary="Activate a user")
    @routes.post(
        "/activate-user/{userId}",
        response_model=schemas.ActivatedUser,
        name="activate_user_by_post",
        summary="Activate a user",
    )
    async def activate_user(partner: Partner, key: IdempotencyKey, user_id: _UserId) -> Response:
        """Assigns the first month, and another one each month until the user is removed. A repeat gets 200 and bills
        nothing twice. 403 if no handshake was executed with this user since the last removal."""

        async def activate(connection: Transaction) -> Answer:
            activated_at = await links.activate(connection, partner.tenant, partner.client_id, user_id)
            shown = schemas.ActivatedUser(user_id=user_id, activated_at=activated_at)
            return _answer(shown.model_dump(mode="json", by_alias=True))

        return (await answers.once(partner.tenant, partner.client_id, key, activate)).response()

    @routes.delete("/remove-user/{userId}", response_model=schemas.RemovedUser, summary="Remove a user")
    async def remove_user(partner: Partner, key: IdempotencyKey, user_id: _UserId) -> Response:
        """Removes the link; months that have begun stay billed. A new link needs another handshake."""

        async def remove(connection: Transaction) -> Answer:
            removed_at = await links.remove(connection, partner.tenant, partner.client_id, user_id, by="partner")
            return _answer(
                schemas.RemovedUser(user_id=user_id, removed_at=removed_at).model_dump(mode="json", by_alias=True)
            )

        return (await answers.once(partner.tenant, partner.client_id, key, remove)).response()

    @routes.get("/event-list", response_model=dict[str, schemas.UserEvents], summary="What has happened, by user")
    async def event_list(partner: Partner) -> Response:
        """The events of everybody who is or was linked."""
        return _json(schemas.events_shown(await links.events(partner.tenant, partner.client_id)))

    @routes.get("/billing", response_model=schemas.BillShown, responses=_BOTH, summary="A month's bill")
    async def bill_of_month(
        partner: Partner,
        month: Annotated[str, Query(max_length=16, examples=["2026-11"])],
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        """The month's assignments, equal to those of the event list; one user is billed once a month."""
        bill = await billing.bill(partner.tenant, partner.client_id, parse_month(month))
        if _prefers_csv(accept):
            name = f'attachment; filename="billing-{bill.month:%Y-%m}.csv"'
            headers = {**_NO_STORE, "Content-Disposition": name, "Billing-Sum": str(bill.sum)}
            return Response(schemas.bill_as_csv(bill), headers=headers, media_type="text/csv; charset=utf-8")
        return _json(schemas.bill_shown(bill))

    return routes


_BOTH: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bill, as JSON or (`Accept: text/csv`) as a table.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


def _prefers_csv(accept: str) -> bool:
    """Whether `Accept` prefers text/csv to JSON."""
    names = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/csv" in names and "application/json" not in names[: names.index("text/csv")]


def _answer(body: Any) -> Answer:
    return Answer.of(200, body, Cache_Control="no-store")


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), headers=_NO_STORE, media_type="application/json")
