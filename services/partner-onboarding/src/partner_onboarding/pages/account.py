"""The account page: who is signed in, how many points there are, and where to spend them."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from shared.errors import Unavailable
from starlette.responses import Response

from partner_onboarding.issuer_client import IssuerClient
from partner_onboarding.ledger_client import LedgerClient
from partner_onboarding.pages.forms import SESSION_COOKIE
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.sessions.domain import NoSession, SignedIn
from partner_onboarding.sessions.service import Sessions
from partner_onboarding.tenants.service import Tenants
from partner_onboarding.users.service import Users

T = TypeVar("T")


def account_routes(
    pages: Pages, sessions: Sessions, users: Users, tenants: Tenants, ledger: LedgerClient, issuer: IssuerClient
) -> APIRouter:
    """/ and /account."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def start(request: Request) -> Response:
        return pages.redirect("/account" if await _signed_in(sessions, request) else "/login")

    @routes.api_route("/account", methods=["GET", "HEAD"])
    async def account_page(request: Request) -> Response:
        who = await _signed_in(sessions, request)
        if who is None:
            return pages.redirect(f"/login?{urlencode({'next': '/account'})}")
        user, tenant, balance, vendors = await asyncio.gather(
            users.get(who.tenant, who.user_id),
            tenants.get(who.tenant),
            _unless_unavailable(ledger.balance(who.tenant, who.user_id)),
            _unless_unavailable(issuer.vendors(who.tenant)),
        )
        return pages.render(
            request,
            "account.html",
            # "Redeem" is posted to this site and answered with a redirect to the vendor's.
            leads_away=True,
            user=user,
            tenant=tenant,
            balance=balance,
            vendors=vendors,
        )

    return routes


async def _signed_in(sessions: Sessions, request: Request) -> SignedIn | None:
    try:
        return await sessions.check(request.cookies.get(SESSION_COOKIE, ""))
    except NoSession:
        return None


async def _unless_unavailable(asked: Awaitable[T]) -> T | Unavailable:
    """The page says what it could not ask for; the rest of it is shown all the same."""
    try:
        return await asked
    except Unavailable as trouble:
        return trouble
