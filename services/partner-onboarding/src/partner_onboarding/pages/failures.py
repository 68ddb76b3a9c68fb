"""Refusals and failures as pages, for whoever asks for HTML; programs get the problem body that all services send."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from shared.errors import Refusal
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from partner_onboarding.pages.rendering import Pages

_Handler = Callable[[Request, Exception], Awaitable[Response]]
_TEXT_OF_STATUS: Final[Mapping[int, str]] = {
    401: "forbidden",
    403: "forbidden",
    404: "not_found",
    429: "unavailable",
    500: "failed",
    503: "unavailable",
}
_TEXT_OF_CODE: Final[Mapping[str, str]] = {"form_expired": "form_expired"}
_KEPT_HEADERS: Final = ("allow", "retry-after", "www-authenticate")
_INTERNAL_ERROR: Final = 500


def show_failures_as_pages(app: FastAPI, pages: Pages) -> None:
    """Makes `app` answer what it refuses, and what goes wrong in it, in HTML where that is asked for."""
    for kind in (Refusal, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _page_instead_of(cast(_Handler, app.exception_handlers[kind]), pages))
    # Outermost: only the frame around every request turns an unexpected error into an answer.
    app.add_middleware(_FailurePages, pages=pages)


def _page_instead_of(problem: _Handler, pages: Pages) -> _Handler:
    async def answer(request: Request, error: Exception) -> Response:
        response = await problem(request, error)
        if not _wants_page(request):
            return response
        code = error.stable_code if isinstance(error, Refusal) else ""
        page = _page(pages, request, response.status_code, code)
        page.headers.update({name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers})
        return page

    return answer


class _FailurePages:
    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _wants_page(Request(scope)):
            return await self._app(scope, receive, send)
        is_replaced = False

        async def send_page(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and message["status"] == _INTERNAL_ERROR:
                is_replaced = True
                page = _page(self._pages, Request(scope), _INTERNAL_ERROR)
                page.headers["X-Request-Id"] = scope["state"]["request_id"]
                await page(scope, receive, send)
            elif not is_replaced:
                await send(message)

        return await self._app(scope, receive, send_page)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _page(pages: Pages, request: Request, status: int, code: str = "") -> Response:
    text = _TEXT_OF_CODE.get(code) or _TEXT_OF_STATUS.get(status, "bad_request")
    return pages.render(
        request,
        "failure.html",
        status=status,
        title_key=f"page.{text}_title",
        text_key=f"page.{text}",
        request_id=request.scope.get("state", {}).get("request_id", ""),
    )
