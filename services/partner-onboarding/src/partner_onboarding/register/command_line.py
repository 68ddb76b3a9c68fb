"""Runs a command on a register of its own and prints its answer as one JSON object."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import typer
from shared.errors import Refusal
from shared.identifiers import is_identifier
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
        # What is logged meanwhile must not stand in the answer.
        with contextlib.redirect_stdout(sys.stderr):
            answer = asyncio.run(used())
    except Refusal as refusal:
        _write(sys.stderr, {"code": refusal.stable_code, "detail": refusal.message, "why": refusal.log})
        raise typer.Exit(1) from None
    _write(sys.stdout, answer)


def _write(stream: Any, fields: Mapping[str, Any]) -> None:
    stream.write(orjson.dumps(fields).decode() + "\n")


def differences(created: bool, wanted: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of requested values that differ from the register, regardless of the order in lists."""
    if created:
        return {}
    return {"differs": [name for name, value in wanted.items() if _unordered(value) != _unordered(present[name])]}


def _unordered(value: Any) -> Any:
    return sorted(set(value)) if isinstance(value, list) else value


def line_of_standard_input() -> str:
    """Reads a secret. It is no argument, since every user of the machine could read that."""
    return sys.stdin.readline().rstrip("\r\n")


def checked_identifier(value: str, option: str) -> str:
    if not is_identifier(value):
        raise typer.BadParameter("has 1 to 128 printable characters and no blank at either end", param_hint=option)
    return value
