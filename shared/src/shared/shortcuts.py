"""Ordinary routes whose requests go past the framework's layers.

A hot route (`shared.hot_routes`) suits an operation that takes JSON of an authenticated caller. Where an endpoint does
by itself what the framework would do for it (OAuth's forms, key sets, redirects of browsers), it stays an endpoint of
FastAPI, which describes it, and a shortcut calls it directly. What is unusual takes the long way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.bodies import RefusedWhileReading
from shared.errors import Refusal, forget_frames
from shared.problems import Renderer


def _always(_scope: Scope) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A route of FastAPI that ignores unknown parameters of the query, and the way past the framework to it.

    Args:
        path: as FastAPI has it, with one parameter at most.
        answer: calls the endpoint with what FastAPI would give it.
        fits: whether a request is usual: its parameter is in `path_params`.
    """

    method: str
    path: str
    answer: Callable[[Request], Awaitable[ASGIApp]]
    fits: Callable[[Scope], bool] = _always


class ShortcutApp:
    """A shortcut as an ASGI application. The length of a body is checked by `shared.bodies` around it."""

    def __init__(self, shortcut: Shortcut, render: Renderer) -> None:
        self._shortcut = shortcut
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = self._shortcut.path
        request = Request(scope, receive)
        try:
            answer = await self._shortcut.answer(request)
        except Refusal as refusal:
            answer = self._refuse(refusal, request)
            forget_frames(refusal)
        except RefusedWhileReading as error:
            answer = self._refuse(error.refusal, request)
            forget_frames(error)
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    def _refuse(self, refusal: Refusal, request: Request) -> ASGIApp:
        request.state.log = {"refusal": refusal.stable_code, "why": refusal.log}
        return self._render(refusal, request)
