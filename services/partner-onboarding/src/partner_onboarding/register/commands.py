"""Commands on the register for operators with shell access. Each prints one JSON object on standard output.

Commands that create may be repeated: what exists stays unchanged, the answer has `"created": false`, and `"differs"`
names each difference to the request. A refusal goes to standard error with status 1.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.register.build import Register, build_sandbox_tenants
from partner_onboarding.register.clients.domain import Client, ClientNotFound, Kind, Registration
from partner_onboarding.register.clients.schemas import AddedSecretBody, ClientBody, RegisteredClientBody
from partner_onboarding.register.command_line import checked_identifier, differences, line_of_standard_input, run

commands = typer.Typer()

_Tenant = Annotated[str, typer.Option(help="The tenant it belongs to.")]
_ClientId = Annotated[str, typer.Argument(help="Of whichever tenant: a client id is unique over all.")]
_Several = Annotated[list[str] | None, typer.Option(help="May be given several times.")]


@commands.command()
def create_tenant(
    tenant: Annotated[str, typer.Argument(help="1 to 40 lower-case letters, digits and hyphens.")],
    name: Annotated[str, typer.Option(help="What people read.")],
    allowed_origin: _Several = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="For tests: its clock can be moved, and it can begin anew.")
    ] = False,
) -> None:
    """Create a tenant. Pages of an allowed origin may call with a user's session (CORS).

    Of a sandbox `"waiting"` names the services that do not know it yet: repeat the command before you use it.
    """

    async def use(register: Register) -> Mapping[str, Any]:
        found, created = await register.tenants.create(tenant, name, allowed_origin or (), sandbox=sandbox)
        shown: dict[str, Any] = {
            "tenant": found.tenant,
            "name": found.name,
            "allowed_origins": list(found.allowed_origins),
        }
        wanted: dict[str, Any] = {"name": name, "allowed_origins": list(allowed_origin or ())}
        if sandbox or found.is_sandbox:
            shown["sandbox"], wanted["sandbox"] = found.is_sandbox, sandbox
        told = {"waiting": await _tell_of_sandbox(register, tenant)} if found.is_sandbox else {}
        return {"created": created, **shown, **told, **differences(created, wanted, shown)}

    run(use)


@commands.command()
def create_client(
    tenant: _Tenant,
    name: Annotated[str, typer.Option(help="What operators and tenant admins read.")],
    scope: _Several = None,
    client_id: Annotated[str | None, typer.Option(help="Random where none is given.")] = None,
    client_secret_stdin: Annotated[
        bool, typer.Option("--client-secret-stdin", help="Read the secret from standard input, not make one.")
    ] = False,
    kind: Annotated[str, typer.Option(help="first_party or third_party.")] = "first_party",
    vendor_id: Annotated[str | None, typer.Option(help="For rewards vendors.")] = None,
    landing_url: Annotated[str | None, typer.Option(help="For partners: where people land.")] = None,
    redirect_uri: _Several = None,
    ip: Annotated[list[str] | None, typer.Option(help="A network it may call from; none: any.")] = None,
    takes_over: Annotated[
        bool, typer.Option("--takes-over", help="Disables the live client that has the vendor id now.")
    ] = False,
) -> None:
    """Register a client. Its secret is in the answer only now, when it is created."""
    client_secret = line_of_standard_input() if client_secret_stdin else None
    registration = Registration(
        name=name,
        kind=_kind(kind),
        scopes=tuple(scope or ()),
        vendor_id=checked_identifier(vendor_id, "--vendor-id") if vendor_id is not None else None,
        ip_allow_list=tuple(ip or ()),
        landing_url=landing_url,
        redirect_uris=tuple(redirect_uri or ()),
    )

    async def use(register: Register) -> Mapping[str, Any]:
        await register.tenants.get(tenant)
        present = await register.clients.find_anywhere(client_id) if client_id is not None else None
        if present is None or present.tenant != tenant:
            async with register.database.transaction() as connection:
                new = await register.clients.register(
                    connection,
                    tenant,
                    registration,
                    client_id=client_id,
                    client_secret=client_secret,
                    takes_over=takes_over,
                )
            return {"created": True, **RegisteredClientBody.of_new(new).model_dump(mode="json")}
        shown = ClientBody.of(await register.clients.get(tenant, present.client_id)).model_dump(mode="json")
        wanted = {
            "name": name,
            "kind": kind,
            "vendor_id": vendor_id,
            "landing_url": landing_url,
            "scopes": list(scope or ()),
            "redirect_uris": list(redirect_uri or ()),
            "ip_allow_list": list(ip or ()),
        }
        return {"created": False, **shown, **differences(False, wanted, shown)}

    run(use)


@commands.command()
def list_clients(tenant: Annotated[str | None, typer.Option(help="Of one tenant only.")] = None) -> None:
    """List clients and the times of their secrets."""

    async def use(register: Register) -> Mapping[str, Any]:
        found, after = [], ""
        while page := await register.clients.list_clients(tenant, after=after, limit=500):
            found += [ClientBody.of(one).model_dump(mode="json") for one in page]
            after = page[-1].client.client_id
        return {"clients": found}

    run(use)


@commands.command()
def rotate_secret(
    client_id: _ClientId,
    overlap_seconds: Annotated[int, typer.Option(help="How long the present secret stays valid.")] = 86_400,
    end_former: Annotated[
        bool, typer.Option("--end-former", help="While two secrets are live: end the former one now.")
    ] = False,
) -> None:
    """Give a client a new secret, shown this once."""

    async def use(register: Register) -> Mapping[str, Any]:
        client = await _client(register, client_id)
        new = await register.clients.rotate_secret(
            client.tenant, client_id, overlap_seconds=overlap_seconds, end_former=end_former
        )
        return AddedSecretBody.of(new).model_dump(mode="json")

    run(use)


@commands.command()
def revoke_secret(
    client_id: _ClientId, n: Annotated[int, typer.Argument(help="The secret's number, see list-clients.")]
) -> None:
    """End one of a client's secrets now."""

    async def use(register: Register) -> Mapping[str, Any]:
        client = await _client(register, client_id)
        await register.clients.revoke_secret(client.tenant, client_id, n)
        return ClientBody.of(await register.clients.get(client.tenant, client_id)).model_dump(mode="json")

    run(use)


@commands.command()
def disable_client(client_id: _ClientId) -> None:
    """Take a client out of use for good."""

    async def use(register: Register) -> Mapping[str, Any]:
        client = await _client(register, client_id)
        await register.clients.disable(client.tenant, client_id)
        return ClientBody.of(await register.clients.get(client.tenant, client_id)).model_dump(mode="json")

    run(use)


@commands.command()
def reset_second_factor(
    tenant: _Tenant, user_id: Annotated[str, typer.Argument(help="Whose telephone and recovery codes are lost.")]
) -> None:
    """Remove a person's second factor. The service mails the person."""

    async def use(register: Register) -> Mapping[str, Any]:
        removed = await register.second_factors.reset(tenant, user_id, actor=SHELL)
        return {"tenant": tenant, "user_id": user_id, "removed": removed}

    run(use)


async def _client(register: Register, client_id: str) -> Client:
    found = await register.clients.find_anywhere(client_id)
    if found is None:
        raise ClientNotFound("There is no such client.")
    return found


async def _tell_of_sandbox(register: Register, tenant: str) -> list[str]:
    sandboxes = build_sandbox_tenants(register)
    try:
        return await sandboxes.tell(tenant)
    finally:
        await sandboxes.aclose()


def _kind(value: str) -> Kind:
    if value == "first_party":
        return "first_party"
    if value == "third_party":
        return "third_party"
    raise typer.BadParameter("is first_party or third_party", param_hint="--kind")
