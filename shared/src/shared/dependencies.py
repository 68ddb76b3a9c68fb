"""The parts that routes work with: `create_app` builds each once, and a route asks for it by its type.

    provide(app, service)                              # in create_app, the only place that builds things

    Service = Annotated[PointsService, needs(PointsService)]

    @router.get("/accounts/{user_id}")
    async def balance(service: Service, user_id: Identifier) -> BalanceBody: ...

Tests build the app with the same `create_app`. A missing part is a programming error.
"""

from typing import Any, TypeVar

from fastapi import Depends, FastAPI, Request

T = TypeVar("T")


class MissingDependency(LookupError):
    """A route needs a part that `create_app` did not provide."""


def provide(app: FastAPI, *parts: object) -> None:
    """Hands `parts` to the routes of `app`, each under its own class.

    Raises:
        ValueError: the app has a part of this class already.
    """
    held = _parts_of(app)
    for part in parts:
        if type(part) in held:
            raise ValueError(f"the app has a {type(part).__name__} already")
        held[type(part)] = part


def provided(app: FastAPI, kind: type[T]) -> T:
    """The part of this class.

    Raises:
        MissingDependency: nobody provided it.
    """
    try:
        # Looked up here and not by `_parts_of`, for every request does it several times.
        part: T = app.__dict__["parts"][kind]
    except KeyError:
        raise MissingDependency(f"create_app provides no {kind.__name__}") from None
    return part


def needs(kind: type[T]) -> Any:
    """A FastAPI dependency that gives the part of this class: `Annotated[PointsService, needs(PointsService)]`."""

    # Async, because FastAPI runs a plain function in a thread.
    async def part(request: Request) -> T:
        return provided(request.app, kind)

    return Depends(part)


def _parts_of(app: FastAPI) -> dict[type, object]:
    # Not in `app.state`, which looks each attribute up in Python, for every request.
    parts: dict[type, object] = vars(app).setdefault("parts", {})
    return parts
