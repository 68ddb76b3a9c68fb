"""A route gets the very part that the app was built with, by its type."""

from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI
from shared.dependencies import MissingDependency, needs, provide, provided


class Greeter:
    def __init__(self, word: str) -> None:
        self.word = word


async def _ask(app: FastAPI) -> str:
    @app.get("/")
    async def greet(greeter: Annotated[Greeter, needs(Greeter)]) -> str:
        return greeter.word

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/")
    return str(answer.json())


async def test_a_route_is_given_the_part_that_its_own_app_was_built_with() -> None:
    one, other = FastAPI(), FastAPI()
    provide(one, Greeter("hello"))
    provide(other, Greeter("hallo"))
    assert [await _ask(one), await _ask(other)] == ["hello", "hallo"]


async def test_a_part_that_nobody_provided_is_named() -> None:
    with pytest.raises(MissingDependency, match="Greeter"):
        await _ask(FastAPI())


def test_two_parts_of_one_class_are_refused_when_the_app_is_built() -> None:
    app = FastAPI()
    provide(app, Greeter("hello"))
    with pytest.raises(ValueError, match="Greeter"):
        provide(app, Greeter("again"))
    assert provided(app, Greeter).word == "hello"
