"""Runs a command on a register of its own and prints its answer as one JSON object."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import typer
from shared.errors import Refusal
from shared.settings import load

from partner_onboarding.register.build import Register, build_register
from partner_onboarding.settings import Settings


def run(use: Callable[[Register], Awaitable[Mapping[str, Any]]]) -> None:
    """Prints the answer of `use`; a refusal goes to standard error and ends the command with status 1."""
    settings = load(Settings)

    async def used() -> Mapping[str, Any]:
        register = build_register(settings)
        try:
            return await use(register)
        finally:
            await register.close()

    try:
        answer = asyncio.run(used())
    except Refusal as refusal:
        _write(sys.stderr, {"code": refusal.stable_code, "detail": refusal.message, "why": refusal.log})
        raise typer.Exit(1) from None
    _write(sys.stdout, answer)


def _write(stream: Any, fields: Mapping[str, Any]) -> None:
    stream.write(orjson.dumps(fields).decode() + "\n")
