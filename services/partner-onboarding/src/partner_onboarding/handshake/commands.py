"""Commands of operators with shell access that need the handshake (see `register.commands`)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from partner_onboarding.handshake.build import build_erasing
from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.register.build import Register
from partner_onboarding.register.command_line import run

commands = typer.Typer()


@commands.command()
def erase_user(
    tenant: Annotated[str, typer.Option(help="The tenant it belongs to.")],
    user_id: Annotated[str, typer.Argument(help="See list-users.")],
) -> None:
    """Delete a person's account for good, as the person could: links end, points lapse. There is no way back."""

    async def use(register: Register) -> Mapping[str, Any]:
        await build_erasing(register).erase(tenant, user_id, by=SHELL)
        return {"tenant": tenant, "user_id": user_id, "erased": True}

    run(use)
