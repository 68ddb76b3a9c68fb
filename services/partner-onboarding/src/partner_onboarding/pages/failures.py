"""Refusals and failures as pages, for whoever asks for HTML; programs get the problem body that all services send."""

from collections.abc import Mapping
from typing import Final

from shared.errors import Refusal
from shared.problems import Renderer, headers_of, problem_response, status_of
from starlette.requests import Request
from starlette.responses import Response

from partner_onboarding.pages.rendering import Pages

_TEXT_OF_STATUS: Final[Mapping[int, str]] = {
    401: "forbidden",
    403: "forbidden",
    404: "not_found",
    429: "unavailable",
    500: "failed",
    503: "unavailable",
}
_TEXT_OF_CODE: Final[Mapping[str, str]] = {
    "form_expired": "form_expired",
    "not_operator": "not_operator",
    "not_tenant_admin": "not_tenant_admin",
    "unregistered_redirect_uri": "unregistered_redirect",
}


def page_or_problem(pages: Pages) -> Renderer:
    """Answers a refusal in HTML where that is asked for, else as a problem."""

    def render(refusal: Refusal, request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return problem_response(refusal, request)
        status = status_of(refusal)
        text = _TEXT_OF_CODE.get(refusal.stable_code) or _TEXT_OF_STATUS.get(status, "bad_request")
        page = pages.render(
            request,
            "failure.html",
            status=status,
            title_key=f"page.{text}_title",
            text_key=f"page.{text}",
            request_id=request.scope.get("state", {}).get("request_id", ""),
        )
        page.headers.update(headers_of(refusal))
        return page

    return render
