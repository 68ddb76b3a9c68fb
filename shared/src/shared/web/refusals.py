"""Refusals and failures as pages for people; programs get the body that all services send."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import Refusal
from shared.problems import headers_of, problem_response, request_id_of, status_of
from shared.web.accept import wants_page
from shared.web.pages import Pages

_TEXT_OF_STATUS: Final[Mapping[int, str]] = {
    401: "forbidden",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    410: "not_found",
    413: "too_long",
    429: "too_many",
    500: "internal_error",
    503: "unavailable",
}


def refusal_page(pages: Pages, refusal: Refusal, request: Request) -> Response:
    """Says that it did not work, in words for the visitor; the code is for those who help."""
    status = status_of(refusal)
    texts = pages.texts(request)
    by_code = f"refused.{refusal.stable_code}"
    text = by_code if texts.has(f"{by_code}_title") else f"refused.{_TEXT_OF_STATUS.get(status, 'malformed')}"
    response = pages.render(
        request,
        "refused.html",
        status=status,
        text_key=text,
        code=refusal.stable_code,
        request_id=request_id_of(request) or "",
        shows_retry=status >= 500,
    )
    response.headers.update(headers_of(refusal))
    return response


def page_or_problem(pages: Pages, refusal: Refusal, request: Request, *, by_default: bool = False) -> Response:
    """Answers a refusal with a page where that is asked for, else as a problem.

    Args:
        by_default: the address has nothing but pages.
    """
    if wants_page(request, by_default=by_default):
        return refusal_page(pages, refusal, request)
    return problem_response(refusal, request)
