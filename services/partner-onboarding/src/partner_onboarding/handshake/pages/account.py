"""The account page: who is signed in, how many points there are, and where to spend them."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import Unavailable
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.handshake.account.issuer_client import IssuerClient
from partner_onboarding.handshake.account.ledger_client import LedgerClient
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.register.pages.session import signed_in_session
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.service import Users

T = TypeVar("T")

#: The gateway waits two seconds for a page.
_PATIENCE_SECONDS: Final = 1.2

#: What may just have happened, as the address says.
_NOTICES: Final = ("unlinked", "password_changed", "profile_changed", "address_asked")


PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
UserService = Annotated[Users, needs(Users)]
TenantService = Annotated[Tenants, needs(Tenants)]
LinkService = Annotated[Links, needs(Links)]
Ledger = Annotated[LedgerClient, needs(LedgerClient)]
Issuer = Annotated[IssuerClient, needs(IssuerClient)]
router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def start(pages: PagesPart, sessions: SessionService, request: Request) -> Response:
    return pages.redirect("/account" if await signed_in_session(sessions, request) else "/login")


@router.api_route("/account", methods=["GET", "HEAD"])
async def account_page(
    pages: PagesPart,
    sessions: SessionService,
    users: UserService,
    tenants: TenantService,
    links: LinkService,
    ledger: Ledger,
    issuer: Issuer,
    request: Request,
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return pages.redirect(f"/login?{urlencode({'next': '/account'})}")
    user, tenant, partners, entitlements, balance, vendors = await asyncio.gather(
        users.get(who.tenant, who.user_id),
        tenants.get(who.tenant),
        links.partners_of(who.tenant, who.user_id),
        links.entitlements(who.tenant, who.user_id),
        unless_unavailable(ledger.balance(who.tenant, who.user_id)),
        unless_unavailable(issuer.vendors(who.tenant)),
    )
    return pages.render(
        request,
        "account.html",
        # "Redeem" is posted to this site and answered with a redirect to the vendor's.
        leads_away=True,
        user=user,
        tenant=tenant,
        partners=partners,
        write_access=entitlements.write_access,
        plans={plan.partner_id: plan.since for plan in entitlements.plans},
        notices=[notice for notice in _NOTICES if notice in request.query_params],
        balance=balance,
        vendors=vendors,
    )


async def unless_unavailable(asked: Awaitable[T]) -> T | Unavailable:
    """The page says what it could not ask for; the rest of it is shown all the same, and soon."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await asked
    except Unavailable as trouble:
        return trouble
    except TimeoutError:
        return Unavailable(log="a neighbour takes longer than a page may")
