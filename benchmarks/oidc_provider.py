"""npm's oidc-provider beside the issuer: installed once, below .tools, and started as a process of its own."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from local_platform.embedded_postgres import free_port
from platform_testing.callers import basic

from benchmarks import servers

_VERSION: Final = "9.13.3"
_INSTALLED: Final = Path(__file__).parents[1] / ".tools" / "oidc-provider"
_SERVER: Final = Path(__file__).parent / "competitors" / "oidc_provider" / "server.mjs"
_CLIENT: Final = ("bench", "s" * 43)


def install() -> bool:
    """Whether it is installed now; it cannot be without node and npm, or without a network."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    if (_INSTALLED / "node_modules" / "oidc-provider" / "package.json").exists():
        return True
    _INSTALLED.mkdir(parents=True, exist_ok=True)
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier"]
    command = ["npm", "install", *quiet, f"oidc-provider@{_VERSION}"]
    return subprocess.run(command, cwd=_INSTALLED, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def running(log: Path) -> Iterator[str]:
    """Runs it with its adapter in memory; yields its address."""
    port = free_port()
    command = ["node", str(_SERVER), str(port), *_CLIENT]
    # Its modules are found from where they are installed.
    with servers.process(command, port=port, environment={}, log=log, directory=_INSTALLED) as url:
        yield url


def headers() -> Mapping[str, str]:
    return basic(*_CLIENT)


def body(algorithm: str) -> str:
    """A request for an access token of this algorithm, with as many scopes as the platform's own client gets."""
    scope = "+".join(("points:read", "points:admin", "sso:issue", "sso:admin", "users:read", "users:write"))
    return f"grant_type=client_credentials&scope={scope}&resource=urn:bench:{algorithm}"
