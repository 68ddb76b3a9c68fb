"""`/developers/inspect`: a form that says what is wrong with a token, for a vendor's developer."""

from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from shared.callers import Callers
from shared.dependencies import needs
from shared.errors import Refusal
from shared.problems import status_of
from shared.web.forms import MAX_FIELD_CHARACTERS, read_form
from shared.web.pages import Pages

from sso_issuer.admins import SCOPE as ADMIN
from sso_issuer.admins import check_admin
from sso_issuer.inspections.domain import malformed
from sso_issuer.inspections.service import Inspections
from sso_issuer.register_client import RegisterClient

PATH: Final = "/developers/inspect"

router = APIRouter(include_in_schema=False)

PagesPart = Annotated[Pages, needs(Pages)]


@router.get(PATH)
async def show_form(request: Request, pages: PagesPart) -> Response:
    return pages.render(request, "inspect.html", token="", client_id="", inspection=None, refusal=None)


@router.post(PATH)
async def inspect_token(
    request: Request,
    pages: PagesPart,
    callers: Annotated[Callers, needs(Callers)],
    register: Annotated[RegisterClient, needs(RegisterClient)],
    inspections: Annotated[Inspections, needs(Inspections)],
) -> Response:
    """Names all that is wrong, and uses nothing up. The token goes back into the form, the secret does not.

    The form has no token against forged posts: it changes nothing, and it needs a secret that no browser keeps.
    """
    form = await read_form(request)
    client_id, token = form.get("client_id", "").strip(), form.get("token", "").strip()
    inspection, refused = None, None
    try:
        caller = await callers.authenticate_client(client_id, form.get("client_secret", ""), request.scope)
        caller.need("points:redeem", ADMIN)
        await check_admin(caller, register)
        if len(token) > MAX_FIELD_CHARACTERS:
            inspection = malformed(f"it is longer than {MAX_FIELD_CHARACTERS} characters")
        else:
            inspection = await inspections.inspect(caller, token, any_vendor=ADMIN in caller.scopes)
    except Refusal as refusal:
        refused = refusal
        request.state.log = {"refusal": refusal.stable_code, "why": refusal.log}
    return pages.render(
        request,
        "inspect.html",
        status=200 if refused is None else status_of(refused),
        token=token,
        client_id=client_id,
        inspection=inspection,
        refusal=refused,
    )
