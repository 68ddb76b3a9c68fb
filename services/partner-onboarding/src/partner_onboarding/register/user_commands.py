"""The commands of operators with shell access for users (see `register.commands`)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from shared.times import iso

from partner_onboarding.register.build import Register
from partner_onboarding.register.command_line import checked_identifier, differences, line_of_standard_input, run
from partner_onboarding.register.users.domain import ROLES, User, UserNotFound

commands = typer.Typer()

_Tenant = Annotated[str, typer.Option(help="The tenant it belongs to.")]
_UserId = Annotated[str, typer.Argument(help="See list-users.")]
_PAGE = 500


@commands.command()
def create_user(
    tenant: _Tenant,
    user_id: Annotated[str, typer.Option()],
    email: Annotated[str, typer.Option()],
    firstname: Annotated[str, typer.Option()],
    lastname: Annotated[str, typer.Option()],
    role: Annotated[list[str] | None, typer.Option(help="tenant_admin or operator; several times for both.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input; else no sign-in.")
    ] = False,
) -> None:
    """Create a user. Only this command gives roles."""
    password = line_of_standard_input() if password_stdin else None
    checked_identifier(user_id, "--user-id")

    async def use(register: Register) -> Mapping[str, Any]:
        await register.tenants.get(tenant)
        try:
            user, created = await register.users.get(tenant, user_id), False
        except UserNotFound:
            user, created = await register.users.put(
                tenant,
                user_id,
                email=email,
                firstname=firstname,
                lastname=lastname,
                password=password,
                roles=role or (),
            )
        shown = {
            "tenant": tenant,
            "user_id": user_id,
            "email": user.profile.email,
            "firstname": user.profile.firstname,
            "lastname": user.profile.lastname,
            "roles": list(user.roles),
        }
        wanted = {"email": email, "firstname": firstname, "lastname": lastname, "roles": list(role or ())}
        return {"created": created, **shown, **differences(created, wanted, shown)}

    run(use)


@commands.command()
def list_users(
    tenant: Annotated[str | None, typer.Option(help="Of one tenant only.")] = None,
    role: Annotated[str | None, typer.Option(help="Only people with this role: tenant_admin or operator.")] = None,
) -> None:
    """List users, their roles and whether they can sign in."""
    if role is not None and role not in ROLES:
        raise typer.BadParameter("is tenant_admin or operator", param_hint="--role")

    roles = None if role is None else (role,)

    async def use(register: Register) -> Mapping[str, Any]:
        found: list[dict[str, Any]] = []
        after = ("", "")
        while page := await register.users.list_users(tenant, roles, after=after, limit=_PAGE):
            found += [_shown(user) for user in page]
            after = (page[-1].tenant, page[-1].user_id)
        return {"users": found}

    run(use)


@commands.command()
def revoke_role(tenant: _Tenant, user_id: _UserId, role: Annotated[str, typer.Option()]) -> None:
    """Take a role away from a user, and end all sessions."""

    async def use(register: Register) -> Mapping[str, Any]:
        return _shown(await register.users.revoke_role(tenant, user_id, role))

    run(use)


@commands.command()
def disable_user(tenant: _Tenant, user_id: _UserId) -> None:
    """Keep a user out: no sign-in, no redirect; all sessions end."""

    async def use(register: Register) -> Mapping[str, Any]:
        return _shown(await register.users.set_disabled(tenant, user_id, disabled=True))

    run(use)


@commands.command()
def enable_user(tenant: _Tenant, user_id: _UserId) -> None:
    """Let a disabled user in again."""

    async def use(register: Register) -> Mapping[str, Any]:
        return _shown(await register.users.set_disabled(tenant, user_id, disabled=False))

    run(use)


@commands.command()
def end_sessions(tenant: _Tenant, user_id: _UserId) -> None:
    """Sign a user out everywhere."""

    async def use(register: Register) -> Mapping[str, Any]:
        return {"user_id": user_id, "ended": await register.users.end_sessions(tenant, user_id)}

    run(use)


def _shown(user: User) -> dict[str, Any]:
    return {
        "tenant": user.tenant,
        "user_id": user.user_id,
        "email": user.profile.email,
        "roles": list(user.roles),
        "has_password": user.password_hash is not None,
        "created_at": iso(user.created_at),
        "disabled_at": None if user.disabled_at is None else iso(user.disabled_at),
    }
