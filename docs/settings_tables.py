"""Writes docs/settings.md from the settings classes: `make docs`, or with `--check` only compares.

Exits with status 1 if the page differs from the code, or if a setting has no description.
"""

import sys
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from partner_onboarding.settings import Settings as OnboardingSettings
from points_ledger.settings import Settings as LedgerSettings
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rewards_shop.settings import ShopSettings
from shared.settings import ServiceSettings
from sso_issuer.settings import Settings as IssuerSettings
from token_service.settings import Settings as TokenSettings

PAGE = Path(__file__).with_name("settings.md")
TABLES: dict[str, type[BaseSettings]] = {
    "points-ledger": LedgerSettings,
    "sso-issuer": IssuerSettings,
    "partner-onboarding": OnboardingSettings,
    "token-service": TokenSettings,
    "rewards-shop": ShopSettings,
}
HEAD = """\
# Settings

This page is made from the code by `make docs`; a test compares the two. Do not edit it by hand.

Each process reads its settings from the environment, or from files of the same name in lower case
(`ledger_database_url`) in the directory that `<PREFIX>_SECRETS_DIR` names. That is how containers hand over secrets.
A setting without a default is required. A service does not start if a setting is missing, malformed or contradicts
another one, or if a name with its prefix is not in the table: it writes a line for each fault and exits with status 2.

In production mode a service refuses a plain-http `PUBLIC_URL` and every secret that is marked as a demonstration's.
"""
UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_minute": "requests", "_url": "URL", "_port": "port"}


def page() -> str:
    """The whole page as Markdown."""
    common = [name for name in ServiceSettings.model_fields if name != "port"]
    parts = [HEAD]
    parts += ["## All four services\n", "The prefix is the service's own.\n", *table(ServiceSettings, common)]
    for name, settings in TABLES.items():
        own = [field for field in settings.model_fields if field not in common or settings is ShopSettings]
        prefix = str(settings.model_config["env_prefix"])
        parts += [f"\n## {name}\n", f"Prefix `{prefix}`.\n", *table(settings, own)]
    return "\n".join(parts) + "\n"


def table(settings: type[BaseSettings], names: list[str]) -> Iterator[str]:
    yield "| setting | default | unit | meaning |"
    yield "|---|---|---|---|"
    for name in names:
        field = settings.model_fields[name]
        if not field.description:
            raise SystemExit(f"{settings.__module__}: {name} has no description")
        meaning = " ".join(field.description.split())
        yield f"| `{name.upper()}` | {default(field)} | {unit(name, field)} | {meaning} |"


def default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in (None, (), ""):
        return "–"
    return f"`{written(value)}`"


def written(value: Any) -> str:
    """The value as the environment spells it."""
    if isinstance(value, timedelta):
        return f"P{value.days}D" if not value.seconds else f"PT{int(value.total_seconds())}S"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value) if isinstance(value, Enum) else str(value)


def unit(name: str, field: FieldInfo) -> str:
    if field.annotation is timedelta:
        words = "ISO 8601 duration"
    elif field.annotation is bool:
        words = "`true` or `false`"
    elif name == "port":
        words = "port"
    else:
        words = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
        if not words and field.annotation in (int, float):
            words = "count"
    limits = "" if words == "port" else bounds(field)
    return ", ".join(part for part in (words, limits) if part) or "–"


def bounds(field: FieldInfo) -> str:
    low = high = ""
    for limit in field.metadata:
        match limit:
            case Ge(ge=value):
                low = f"≥ {written(value)}"
            case Gt(gt=value):
                low = f"> {written(value)}"
            case Le(le=value):
                high = f"≤ {written(value)}"
            case Lt(lt=value):
                high = f"< {written(value)}"
    return " and ".join(part for part in (low, high) if part)


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            raise SystemExit("docs/settings.md differs from the code; `make docs` writes it anew")
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
