"""The operators' pages about people with roles: take a role away, keep somebody out, sign somebody out everywhere.

An operator acts on people of the own tenant. Tenant admins have no such pages: roles belong to the platform.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import Refusal
from shared.identifiers import is_identifier
from shared.web.form_answers import FormRoute
from shared.web.forms import read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.pages.access import Operator
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.users.domain import ROLES, LastOperator, OwnAccountMeant, UserNotFound
from partner_onboarding.register.users.service import Users

_PATH: Final = "/operations/people"
_PAGE: Final = 50


class PeoplePages:
    """Shows people to operators, and carries out what an operator decides about one of them."""

    def __init__(self, pages: Pages, users: Users, sessions: Sessions, second_factors: SecondFactors) -> None:
        self._pages = pages
        self._users = users
        self._sessions = sessions
        self._second_factors = second_factors

    async def everybody(self, request: Request, who: SignedIn) -> Response:
        """People with roles, by page; the page has a field to find others by their id."""
        role = next((one for one in ROLES if one == request.query_params.get("role")), None)
        after = request.query_params.get("after", "")
        place = (who.tenant, after if is_identifier(after) else "")
        found = await self._users.list_users(
            who.tenant, ROLES if role is None else (role,), after=place, limit=_PAGE + 1
        )
        return self._pages.render(
            request,
            "people.html",
            people=found[:_PAGE],
            role=role,
            roles=ROLES,
            next_after=found[_PAGE - 1].user_id if len(found) > _PAGE else None,
        )

    async def person(self, request: Request, who: SignedIn, user_id: str, refusal: Refusal | None = None) -> Response:
        """One person, and what can be done.

        Args:
            refusal: why the operator's last decision was not carried out.

        Raises:
            UserNotFound
        """
        user = await self._users.get(who.tenant, _known(user_id))
        texts = self._pages.texts(request)
        return self._pages.render(
            request,
            "person.html",
            status=200 if refusal is None else 409,
            here=_address(user_id),
            person=user,
            sessions=await self._sessions.running(who.tenant, user_id),
            has_second_factor=(await self._second_factors.state_of(who.tenant, user_id)).is_set_up,
            is_oneself=user_id == who.user_id,
            done=request.query_params.get("done", ""),
            errors={} if refusal is None else {"form": texts.say(f"error.{refusal.stable_code}")},
        )

    async def carry_out(
        self,
        request: Request,
        who: SignedIn,
        act: Callable[[Users, str, dict[str, str], Actor], Awaitable[object]],
        done: str,
    ) -> Response:
        """Does what the form asks, and leads back to the person's page, which then says so.

        Raises:
            FormExpired, UserNotFound
        """
        fields = await read_form(request)
        self._pages.form_tokens.check(request, fields)
        user_id = _known(fields.get("user_id", ""))
        try:
            await act(self._users, user_id, fields, Actor("operator", who.user_id))
        except (OwnAccountMeant, LastOperator) as refusal:
            return await self.person(request, who, user_id, refusal)
        return self._pages.redirect(_address(user_id, done=done))


People = Annotated[PeoplePages, needs(PeoplePages)]
router = APIRouter(prefix=_PATH, include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def list_people(people: People, request: Request, who: Operator) -> Response:
    return await people.everybody(request, who)


@router.api_route("/person", methods=["GET", "HEAD"])
async def one_person(people: People, request: Request, who: Operator) -> Response:
    return await people.person(request, who, request.query_params.get("id", "").strip())


@router.post("/revoke-role")
async def revoke_role(people: People, request: Request, who: Operator) -> Response:
    return await people.carry_out(
        request,
        who,
        lambda users, user_id, fields, by: users.revoke_role(who.tenant, user_id, fields.get("role", ""), by=by),
        "revoked",
    )


@router.post("/disable")
async def disable(people: People, request: Request, who: Operator) -> Response:
    return await people.carry_out(
        request,
        who,
        lambda users, user_id, _, by: users.set_disabled(who.tenant, user_id, disabled=True, by=by),
        "disabled",
    )


@router.post("/enable")
async def enable(people: People, request: Request, who: Operator) -> Response:
    return await people.carry_out(
        request,
        who,
        lambda users, user_id, _, by: users.set_disabled(who.tenant, user_id, disabled=False, by=by),
        "enabled",
    )


@router.post("/end-sessions")
async def end_sessions(people: People, request: Request, who: Operator) -> Response:
    return await people.carry_out(
        request, who, lambda users, user_id, _, by: users.end_sessions(who.tenant, user_id, by=by), "signed_out"
    )


def _known(user_id: str) -> str:
    if not is_identifier(user_id):
        raise UserNotFound("There is no such user.")
    return user_id


def _address(user_id: str, **query: str) -> str:
    # In the query, since an id may have a slash.
    return f"{_PATH}/person?{urlencode({'id': user_id} | query)}"
