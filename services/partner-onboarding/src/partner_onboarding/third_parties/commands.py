"""Commands on integration requests for operators with shell access (see `register.commands`)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.register.build import Register
from partner_onboarding.register.command_line import run
from partner_onboarding.third_parties.build import build_third_parties
from partner_onboarding.third_parties.integrations.domain import STATES, State
from partner_onboarding.third_parties.integrations.schemas import ApprovedRequestBody, RequestBody
from partner_onboarding.third_parties.integrations.service import RequestPlace

commands = typer.Typer()

_Tenant = Annotated[str, typer.Option(help="The tenant it belongs to.")]


@commands.command()
def list_requests(
    tenant: _Tenant,
    state: Annotated[str | None, typer.Option(help="submitted, approved or declined; all without.")] = None,
) -> None:
    """List requests for integrations with a tenant, newest first."""
    wanted = _state(state)

    async def use(register: Register) -> Mapping[str, Any]:
        integrations = build_third_parties(register).integrations
        found: list[Any] = []
        after: RequestPlace | None = None
        while page := await integrations.newest(tenant, state=wanted, after=after, limit=500):
            found += [RequestBody.of(one).model_dump(mode="json") for one in page]
            after = RequestPlace.of(page[-1])
        return {"requests": found}

    run(use)


@commands.command()
def approve_request(tenant: _Tenant, request_id: Annotated[str, typer.Argument(help="See list-requests.")]) -> None:
    """Approve a request: registers the client. Its secret is in the answer only now."""

    async def use(register: Register) -> Mapping[str, Any]:
        integrations = build_third_parties(register).integrations
        outcome = await integrations.approve(tenant, request_id, by=SHELL)
        return ApprovedRequestBody.of_approved(outcome).model_dump(mode="json")

    run(use)


@commands.command()
def decline_request(
    tenant: _Tenant,
    request_id: Annotated[str, typer.Argument(help="See list-requests.")],
    reason: Annotated[str, typer.Option(help="For the people who asked.")],
) -> None:
    """Decline a request."""

    async def use(register: Register) -> Mapping[str, Any]:
        integrations = build_third_parties(register).integrations
        declined = await integrations.decline(tenant, request_id, reason, by=SHELL)
        return RequestBody.of(declined).model_dump(mode="json")

    run(use)


def _state(value: str | None) -> State | None:
    found = next((state for state in STATES if state == value), None)
    if value is not None and found is None:
        raise typer.BadParameter("is submitted, approved or declined", param_hint="--state")
    return found
