"""Access to pages: a signed-in person with the role that the page needs."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, HTTPException, Request
from shared.dependencies import provided
from shared.web.forms import FormExpired

from partner_onboarding.register.pages.session import check_session
from partner_onboarding.register.sessions.domain import NoSession, NotOperator, NotTenantAdmin, SignedIn
from partner_onboarding.register.sessions.service import Sessions

_REFUSALS: Final = {
    "operator": NotOperator("This page is for operators."),
    "tenant_admin": NotTenantAdmin("This page is for the tenant's admin."),
}


def signed_in_as(role: str) -> Any:
    """A dependency: the signed-in person. Others go to the sign-in page and come back."""

    async def signed_in(request: Request) -> SignedIn:
        try:
            who = await check_session(provided(request.app, Sessions), request)
        except NoSession:
            if request.method not in {"GET", "HEAD"}:
                raise FormExpired("The session has ended since the form was given out.", log="no session") from None
            raise HTTPException(303, headers=_to_sign_in(request)) from None
        if role not in who.roles:
            raise _REFUSALS[role]
        return who

    return Depends(signed_in)


def _to_sign_in(request: Request) -> dict[str, str]:
    # Encoded again, so that any address is safe inside another one.
    query = urlencode(request.query_params.multi_items())
    here = request.url.path + (f"?{query}" if query else "")
    return {"Location": f"/login?{urlencode({'next': here})}", "Cache-Control": "no-store"}


#: What pages take: `who: Operator`.
Operator = Annotated[SignedIn, signed_in_as("operator")]
TenantAdmin = Annotated[SignedIn, signed_in_as("tenant_admin")]
