"""Users over HTTP, for the platform's back end (`users:write`, `users:read`)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from shared.callers import Caller, InsufficientScope, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paths import identifier_above
from shared.preconditions import ETAG_HEADER, Condition, document_condition, etag_of
from shared.problems import document_refusals

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.users.domain import EmailTaken, MalformedUser, PrivilegedUser, UserNotFound
from partner_onboarding.register.users.new_passwords import UnfitPassword
from partner_onboarding.register.users.schemas import UserBody, UserSettingBody
from partner_onboarding.register.users.service import Users

UserId = Annotated[Identifier, Path()]
_USER: Final = identifier_above("user", "/entitlements")
_BOTH: dict[int | str, dict[str, Any]] = {
    **document_condition(200),
    201: {"model": UserBody, "description": "The user is new.", "headers": ETAG_HEADER},
    200: {"description": "The user is as said.", "headers": ETAG_HEADER},
    **document_refusals([MalformedUser, UnfitPassword, PrivilegedUser, EmailTaken]),
}


UserService = Annotated[Users, needs(Users)]
router = APIRouter(prefix="/v1/users", tags=["users"], dependencies=document_credentials())


@router.put(f"/{{user_id:{_USER}}}", responses=_BOTH, summary="Set a user")
async def put_user(
    users: UserService,
    caller: Annotated[Caller, require("users:write")],
    user_id: UserId,
    body: UserSettingBody,
    response: Response,
    condition: Condition,
) -> UserBody:
    """A repeat changes nothing and gets 200."""
    if caller.kind == "third_party" and body.password is not None:
        raise InsufficientScope("A third party cannot set passwords.", "users:write")
    user, created = await users.put(
        caller.tenant,
        user_id,
        email=body.email,
        firstname=body.firstname,
        lastname=body.lastname,
        password=body.password,
        by=Actor("client", caller.client_id),
        condition=condition,
    )
    response.status_code = 201 if created else 200
    response.headers.update({"Cache-Control": "no-store", "ETag": etag_of(user.settings)})
    return UserBody.of(user)


@router.get(
    f"/{{user_id:{_USER}}}",
    summary="One user",
    responses={200: {"headers": ETAG_HEADER}, **document_refusals([UserNotFound])},
)
async def get_user(
    users: UserService,
    caller: Annotated[Caller, require("users:read", "users:write")],
    user_id: UserId,
    response: Response,
) -> UserBody:
    user = await users.get(caller.tenant, user_id)
    response.headers.update({"Cache-Control": "no-store", "ETag": etag_of(user.settings)})
    return UserBody.of(user)
