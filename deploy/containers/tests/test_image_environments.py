"""Each image has all that its service imports, and not this environment alone, where all packages are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = (REPOSITORY / "deploy" / "Dockerfile").read_text()
#: A stage of the Dockerfile, and the package that it starts.
IMAGES = re.findall(r'^FROM runtime AS ([a-z-]+)\n(?:.*\n)*?ENTRYPOINT \["python", "-m", "(\w+)"\]', DOCKERFILE, re.M)
#: What `env.py` has to say is for Alembic alone, which runs it.
_IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(".migrations.env"):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize(("service", "package"), IMAGES)
def test_what_a_service_imports_is_installed_in_its_image(service: str, package: str, tmp_path: Path) -> None:
    (command,) = re.findall(r"^RUN /opt/uv/bin/uv (sync .* --no-editable .*)$", DOCKERFILE, re.M)
    uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "uv" / "bin" / "uv")  # where set-up puts one
    installed = subprocess.run(
        [uv, *command.replace("${SERVICE}", service).replace('"', "").split()],
        cwd=REPOSITORY,
        env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "image")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    imported = subprocess.run(
        [tmp_path / "image" / "bin" / "python", "-I", "-c", _IMPORT_ALL, package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stderr


def test_all_images_are_looked_at() -> None:
    assert len(IMAGES) == DOCKERFILE.count("\nFROM runtime AS ") == 5
