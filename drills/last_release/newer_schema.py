"""A plugin for pytest: the databases of a release's tests get the schema that newer code gives them.

Two variables of the environment say the rest. `NEWER_PYTHON` is the Python of the newer code's environment;
`NEWER_SCHEMAS` is a file that names each package whose database was migrated so, a line each.
"""

import os
import subprocess
from pathlib import Path

import pytest
import shared.readiness
from shared.settings import DatabaseSettings

#: A busy machine keeps the database, and what looks at it for `/readyz`, from answering for long. That says nothing
#: about a schema.
_PATIENCE_SECONDS = 60.0
#: Its arguments are the package and the role that serves, or nothing.
_UPGRADE = """\
import os, sys
from shared.migrating import upgrade
upgrade(os.environ["NEWER_DATABASE"], sys.argv[1], serving_role=sys.argv[2] or None)
"""


def upgrade_by_newer_code(database_url: str, package: str, *, serving_role: str | None = None) -> None:
    """As `shared.migrating.upgrade`, by the newer code's migrations."""
    # The release's own code must not be found there.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    migrated = subprocess.run(
        [os.environ["NEWER_PYTHON"], "-c", _UPGRADE, package, serving_role or ""],
        env=environment | {"NEWER_DATABASE": database_url},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if migrated.returncode:
        raise RuntimeError(f"the newer migrations of {package} failed: {migrated.stderr}")
    with Path(os.environ["NEWER_SCHEMAS"]).open("a") as schemas:
        schemas.write(f"{package}\n")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    import platform_testing.databases  # noqa: PLC0415 — pytest rewrites its assertions, and must be the first to know

    platform_testing.databases.upgrade = upgrade_by_newer_code


def pytest_collection_finish() -> None:
    """All settings are defined by now. Tests of a database that hangs set these times themselves."""
    shared.readiness._SECONDS = _PATIENCE_SECONDS
    kinds = [DatabaseSettings]
    for kind in kinds:
        for name in ("database_wait_seconds", "database_statement_seconds"):
            kind.model_fields[name].default = _PATIENCE_SECONDS
        kind.model_rebuild(force=True)
        kinds += kind.__subclasses__()
