"""`python -m partner_onboarding serve | migrate | verify | create-tenant | create-client | events … | …`.

The server and Alembic are imported where they are used, so that operators' commands start sooner.
"""

from typing import TYPE_CHECKING

from shared.commands import service_commands
from shared.distributing import distribute_command
from shared.events.command_line import event_commands
from shared.resealing import reseal_command
from shared.seals.command import verify_audit
from shared.seals.rows import SealedTable
from shared.settings import load, load_database_settings, load_part

from partner_onboarding.erasure_commands import commands as erasure_commands
from partner_onboarding.register.audit.sealed import sealed_audit
from partner_onboarding.register.commands import commands as register_commands
from partner_onboarding.register.tables import seals
from partner_onboarding.register.user_commands import commands as user_commands
from partner_onboarding.settings import AuditSettings, Settings
from partner_onboarding.tables import metadata
from partner_onboarding.third_parties.commands import commands as third_party_commands

if TYPE_CHECKING:
    from shared.db import Database
    from shared.events.build import Events


def _build_events(settings: Settings, database: "Database") -> "Events":
    from partner_onboarding.app import build_events  # noqa: PLC0415 — see above

    return build_events(settings, database)


cli = service_commands("The register of the platform.")
cli.add_typer(register_commands)
cli.add_typer(user_commands)
cli.add_typer(erasure_commands)
cli.add_typer(third_party_commands)
cli.add_typer(event_commands(Settings, _build_events), name="events")
cli.command("reseal")(reseal_command(Settings, metadata))
cli.command("distribute")(distribute_command(Settings, "partner_onboarding", metadata))


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    from shared.serving import serve as serve_app  # noqa: PLC0415 — see above

    from partner_onboarding.app import create_app  # noqa: PLC0415

    settings = load(Settings)
    serve_app(lambda: create_app(settings), settings, service="partner-onboarding")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    from shared.migrating import migrate as migrate_schema  # noqa: PLC0415 — see above

    migrate_schema(load_database_settings(Settings), "partner_onboarding")


def _audit() -> tuple[AuditSettings, list[SealedTable]]:
    settings = load_part(Settings, AuditSettings)
    return settings, [sealed_audit(settings)]


verify_audit(cli, "partner-onboarding", seals, _audit, ["audit_entries"])


if __name__ == "__main__":
    cli()
