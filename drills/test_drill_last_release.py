"""A rolling upgrade: the last release still runs, while the schema is that of today already.

Migrations come first, then processes are replaced one by one, and a roll-back starts the former ones again without
touching the schema (`docs/operate/upgrade.md`). So the last release must keep its promises on the schema of today: its
own contract tests say whether it does. `lint/migrations/last_release.toml` names it; `RELEASE=<ref>` tries another one.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_platform.services import SERVICES

from tests.running_platform import REPOSITORY

SETTLED = REPOSITORY / "lint" / "migrations" / "last_release.toml"
PLUGIN = REPOSITORY / "drills" / "last_release"
PACKAGES = {service.package for service in SERVICES}
#: What callers of each service see, in tests that read or write most of its tables.
CONTRACT_TESTS = tuple(
    f"services/{service}/tests/test_{prefix}_{name}.py"
    for service, prefix, names in (
        ("points-ledger", "ledger", "eai idempotency imports receipts truth"),
        ("sso-issuer", "issuer", "redirects redeem keys authority seals"),
        ("partner-onboarding", "onboarding", "clients users consents handshake_registration erasures"),
        ("token-service", "token", "issuing verifying imports campaigns acts"),
    )
    for name in names.split()
)
HEADS = """\
import sys
from shared.migrating import head_of
for package in sys.argv[1:]:
    print(package, head_of(package))
"""


@dataclass(frozen=True)
class Release:
    """What `last_release.toml` says; another `ref` where `RELEASE` names one, of unknown revisions."""

    ref: str
    revisions: Mapping[str, str] | None


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def commit_of(ref: str) -> str:
    """The commit of a branch, a tag or a part of its name.

    Raises:
        LookupError: this clone lacks it, and it cannot be fetched. What was not tried has not passed.
    """
    found = _find(ref)
    if found is None:
        is_shallow = git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        fetched = git("fetch", "--quiet", *(["--depth=1"] if is_shallow else []), "origin", ref)
        found = _find(ref if fetched.returncode else "FETCH_HEAD")
    if found is not None:
        return found
    raise LookupError(
        f"this clone lacks the release {ref}, so nobody knows whether it runs on the schema of today. Clone all of the"
        f" history (git fetch --unshallow), or name a release that is here: RELEASE=<ref>. {fetched.stderr}"
    )


def _find(ref: str) -> str | None:
    return git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").stdout.strip() or None


def environment() -> dict[str, str]:
    """Without what this run of pytest and this environment say of themselves; with the uv that was installed here."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV"))
    }
    return ours | {"PATH": f"{ours.get('PATH', os.defpath)}:{REPOSITORY / '.tools' / 'uv' / 'bin'}"}


@pytest.fixture
def release() -> Release:
    settled = tomllib.loads(SETTLED.read_text())
    ref = os.environ.get("RELEASE")
    return Release(ref, None) if ref else Release(settled["commit"], settled["revisions"])


@pytest.fixture
def copy(release: Release) -> Iterator[Path]:
    """The release's files with an environment of their own, where the account that runs PostgreSQL may read them."""
    with tempfile.TemporaryDirectory(prefix="last-release-") as directory:
        copy = Path(directory)
        copy.chmod(0o755)
        packed = copy / "release.tar"
        assert git("archive", "--output", str(packed), commit_of(release.ref)).returncode == 0
        subprocess.run(["tar", "-xf", packed], cwd=copy, check=True)
        subprocess.run(["deploy/local/set-up"], cwd=copy, env=environment(), check=True)
        yield copy


def test_the_last_release_keeps_its_promises_on_the_schema_of_today(
    release: Release, copy: Path, tmp_path: Path
) -> None:
    python, schemas = str(copy / ".venv" / "bin" / "python"), tmp_path / "schemas"
    heads = subprocess.run(
        [python, "-c", HEADS, *PACKAGES], env=environment(), capture_output=True, text=True, check=True
    )
    if release.revisions is not None:
        assert dict(line.split() for line in heads.stdout.splitlines()) == release.revisions

    ran = subprocess.run(
        [python, "-m", "pytest", "-p", "newer_schema", "-n", "2", "--dist", "loadgroup", "-q", *CONTRACT_TESTS],
        cwd=copy,
        env=environment() | {"PYTHONPATH": str(PLUGIN), "NEWER_PYTHON": sys.executable, "NEWER_SCHEMAS": str(schemas)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(schemas.read_text().split()) == PACKAGES, "each service was tried on the schema of today"
