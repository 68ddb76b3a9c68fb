"""From a template to an answer: language, and the headers every page has. No script runs on any of them."""

import base64
import hashlib
from collections.abc import Collection
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from shared.errors import Refusal
from shared.problems import headers_of, request_id_of, status_of
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from token_service.pages.languages import COOKIE, LANGUAGES, Texts, language_of, load_texts

_YEAR_SECONDS: Final = 365 * 86_400
_HEADERS: Final = {
    "Cache-Control": "no-store",
    # The address of a landing page is a secret of its visitor, and no other site's business.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Language, Cookie",
}


class Pages:
    """Renders the pages of this service.

    Args:
        plain_http: whether forms may lead to http, as in development.
    """

    def __init__(self, *, plain_http: bool) -> None:
        self._texts = load_texts()
        self._environment = Environment(
            loader=PackageLoader("token_service.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        style = (resources.files("token_service.pages") / "style.css").read_text(encoding="utf-8")
        self._environment.globals |= {"style": Markup(style), "languages": LANGUAGES}  # noqa: S704 — our own file
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'; form-action "
        )
        # Chromium holds `form-action` against every step of a redirect, and the campaign's site may lead on.
        self._away = "'self' https: http:" if plain_http else "'self' https:"

    def texts(self, request: Request) -> Texts:
        """The texts in the language of this request."""
        return self._texts[language_of(request)]

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        leads_away: bool = False,
        among: Collection[str] = LANGUAGES,
        **context: Any,
    ) -> Response:
        """A page.

        Args:
            leads_away: its form ends, over a redirect, at another site.
            among: the languages to choose from.
        """
        language = language_of(request, among)
        body = self._environment.get_template(template).render(
            text=self._texts[language],
            t=self._texts[language].say,
            language=language,
            choices={code: _in_language(request, code) for code in among},
            **context,
        )
        response = HTMLResponse(body, status, headers=_HEADERS)
        response.headers["Content-Language"] = language
        response.headers["Content-Security-Policy"] = self._policy + (self._away if leads_away else "'self'")
        if request.query_params.get("lang") in among:
            scheme = request.app.state.proxies.scheme(request.scope)
            response.set_cookie(
                COOKIE, language, _YEAR_SECONDS, path="/", secure=scheme == "https", httponly=True, samesite="lax"
            )
        return response

    def refused(self, refusal: Refusal, request: Request) -> Response:
        """Says that it did not work, in words for the visitor; the code is for whoever helps."""
        status = status_of(refusal)
        known = f"refused.{refusal.stable_code}"
        if not self.has(f"{known}_title"):
            known = {404: "refused.not_found", 403: "refused.forbidden", 429: "refused.too_many"}.get(status, "")
            known = known or ("refused.unavailable" if status >= 500 else "refused.malformed")
        response = self.render(
            request,
            "refused.html",
            status=status,
            known=known,
            code=refusal.stable_code,
            request_id=request_id_of(request),
        )
        response.headers.update(headers_of(refusal))
        return response

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return self._texts["en"].has(key)


def _in_language(request: Request, language: str) -> str:
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    return f"?{urlencode([*kept, ('lang', language)])}"
