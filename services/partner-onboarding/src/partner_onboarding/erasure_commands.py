"""Commands of operators with shell access that erase people (see `register.commands`)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from shared.times import iso

from partner_onboarding.erasing import build_erasing
from partner_onboarding.handshake.account.erasures import log_erasure
from partner_onboarding.handshake.account.erasures_store import Erased
from partner_onboarding.handshake.account.repeating import Repeating, read_lines
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
        log_erasure(tenant, user_id, datetime.now(UTC))
        return {"tenant": tenant, "user_id": user_id, "erased": True}

    run(use)


@commands.command()
def list_erasures(
    file: Annotated[Path, typer.Argument(help="Where they are written, a JSON object a line.", dir_okay=False)],
    since: Annotated[datetime, typer.Option(help="Of this day (UTC) and later.")] = datetime(1, 1, 1),  # noqa: DTZ001 — typer reads days without a zone
) -> None:
    """Write down who was erased. Keep the file outside of the database, for `repeat-erasures` after a restore."""

    async def use(register: Register) -> Mapping[str, Any]:
        repeating = Repeating(register.database, build_erasing(register))
        found = [_shown(erased) async for erased in repeating.journal(since.replace(tzinfo=UTC))]
        file.write_text("".join(f"{orjson.dumps(erased).decode()}\n" for erased in found))
        return {"file": str(file), "erasures": len(found)}

    run(use)


@commands.command()
def repeat_erasures(
    file: Annotated[typer.FileText, typer.Argument(help="Lines of list-erasures or of the log; - is standard input.")],
) -> None:
    """Erase again everybody whom a restored database has brought back, and close their accounts. A repeat is fine.

    Status 1 if somebody could not be erased: `needed` names those who have a role, or for whom an integration acts.
    """
    is_complete = False

    async def use(register: Register) -> Mapping[str, Any]:
        nonlocal is_complete
        journal = list(read_lines(file))
        repeated = await Repeating(register.database, build_erasing(register)).repeat(journal)
        is_complete = not repeated.needed
        needed = [_shown(erased) for erased in repeated.needed]
        return {"erased": repeated.erased, "gone_already": repeated.gone_already, "needed": needed}

    run(use)
    if not is_complete:
        raise typer.Exit(1)


def _shown(erased: Erased) -> dict[str, str]:
    return {"tenant": erased.tenant, "user_id": erased.user_id, "erased_at": iso(erased.erased_at)}
