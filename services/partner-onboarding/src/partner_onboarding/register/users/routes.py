"""Users over HTTP, for the platform's back end (`users:write`, `users:read`)."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from shared.callers import Caller, document_credentials, require
from shared.identifiers import Identifier

from partner_onboarding.register.users import schemas
from partner_onboarding.register.users.service import Users

_UserId = Annotated[Identifier, Path()]
_BOTH: dict[int | str, dict[str, Any]] = {
    201: {"model": schemas.UserShown, "description": "The user is new."},
    200: {"description": "The user is as said."},
}


def user_routes(users: Users) -> APIRouter:
    """The routes below /v1/users."""
    routes = APIRouter(prefix="/v1/users", tags=["users"], dependencies=document_credentials())

    @routes.put("/{user_id}", response_model=schemas.UserShown, responses=_BOTH, summary="Set a user")
    async def put_user(
        caller: Annotated[Caller, require("users:write")],
        user_id: _UserId,
        body: schemas.UserToPut,
        response: Response,
    ) -> schemas.UserShown:
        """A repeat changes nothing and gets 200."""
        user, created = await users.put(
            caller.tenant,
            user_id,
            email=body.email,
            firstname=body.firstname,
            lastname=body.lastname,
            password=body.password,
        )
        response.status_code = 201 if created else 200
        response.headers["Cache-Control"] = "no-store"
        return schemas.shown(user)

    @routes.get("/{user_id}", response_model=schemas.UserShown, summary="One user")
    async def get_user(
        caller: Annotated[Caller, require("users:read", "users:write")], user_id: _UserId, response: Response
    ) -> schemas.UserShown:
        response.headers["Cache-Control"] = "no-store"
        return schemas.shown(await users.get(caller.tenant, user_id))

    return routes
