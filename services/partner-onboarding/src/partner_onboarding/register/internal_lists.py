"""What sso-issuer asks of many at once, for each of its own requests: past the framework, which would take longer."""

from typing import Annotated, Final

from pydantic import BaseModel, Field
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer
from shared.identifiers import Identifier

from partner_onboarding.register.clients.credentials import Credentials
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.internal import (
    CheckedClientBody,
    CheckedSessionBody,
    CredentialsBody,
    SecretText,
    checked_client,
    checked_session,
)
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.users.service import Users

_ISSUER: Final = ("sso-issuer",)


class ManyCredentialsBody(BaseModel):
    credentials: Annotated[list[CredentialsBody], Field(min_length=1, max_length=256)]


class CheckedClientsBody(BaseModel):
    clients: list[CheckedClientBody | None]


class ClientIdsBody(BaseModel):
    client_ids: Annotated[list[Identifier], Field(min_length=1, max_length=256)]


class FoundClientsBody(BaseModel):
    clients: list[CheckedClientBody]


class SessionsBody(BaseModel):
    sessions: Annotated[list[SecretText], Field(min_length=1, max_length=256)]


class CheckedSessionsBody(BaseModel):
    sessions: list[CheckedSessionBody | None]


class ProfileBody(BaseModel):
    user_id: str
    firstname: str
    lastname: str
    email: str
    email_verified: bool


class UsersBody(BaseModel):
    """The users whose profiles another service asks for."""

    user_ids: Annotated[list[Identifier], Field(min_length=1, max_length=256)]


class ProfilesBody(BaseModel):
    profiles: list[ProfileBody]
    absent: list[str]


async def _check_clients(call: HotCall[ManyCredentialsBody]) -> Answer:
    found = await call.part(Credentials).check_all(
        [(one.client_id, one.client_secret) for one in call.body.credentials]
    )
    return Answer.of(200, {"clients": [None if client is None else checked_client(client) for client in found]})


async def _find_clients(call: HotCall[ClientIdsBody]) -> Answer:
    found = await call.part(Clients).enabled_among(call.body.client_ids)
    return Answer.of(200, {"clients": [checked_client(client) for client in found]})


async def _check_sessions(call: HotCall[SessionsBody]) -> Answer:
    found = await call.part(Sessions).check_all(call.body.sessions)
    return Answer.of(200, {"sessions": [None if one is None else checked_session(one) for one in found]})


async def _user_profiles(call: HotCall[UsersBody]) -> Answer:
    user_ids = call.body.user_ids
    users = await call.part(Users).get_enabled(call.path_parameter, user_ids)
    profiles = [
        {
            "user_id": user.user_id,
            "firstname": user.profile.firstname,
            "lastname": user.profile.lastname,
            "email": user.profile.email,
            "email_verified": user.owns_email,
        }
        for user in users
    ]
    known = {user.user_id for user in users}
    return Answer.of(
        200, {"profiles": profiles, "absent": [one for one in dict.fromkeys(user_ids) if one not in known]}
    )


INTERNAL_LISTS: Final = (
    HotRoute(
        method="POST",
        path="/internal/clients/check-many",
        name="check_clients",
        tag="internal",
        summary="What `check` says of each client and secret, in order; null where it refuses",
        services=_ISSUER,
        operations=HotOperation(
            _check_clients,
            body=ManyCredentialsBody,
            answers={200: Answered("Checked", CheckedClientsBody)},
            takes_key=False,
        ),
    ),
    HotRoute(
        method="POST",
        path="/internal/clients/find-many",
        name="find_clients",
        tag="internal",
        summary="Those clients that are there and not disabled",
        services=_ISSUER,
        operations=HotOperation(
            _find_clients, body=ClientIdsBody, answers={200: Answered("Found", FoundClientsBody)}, takes_key=False
        ),
    ),
    HotRoute(
        method="POST",
        path="/internal/sessions/check-many",
        name="check_sessions",
        tag="internal",
        summary="What `check` says of each session, in order; null where it refuses",
        services=_ISSUER,
        operations=HotOperation(
            _check_sessions, body=SessionsBody, answers={200: Answered("Checked", CheckedSessionsBody)}, takes_key=False
        ),
    ),
    HotRoute(
        method="POST",
        path="/internal/tenants/{tenant}/profiles",
        name="user_profiles",
        tag="internal",
        summary="The profiles of many users, and the ids that are nobody's",
        services=_ISSUER,
        operations=HotOperation(
            _user_profiles, body=UsersBody, answers={200: Answered("Found", ProfilesBody)}, takes_key=False
        ),
    ),
)
