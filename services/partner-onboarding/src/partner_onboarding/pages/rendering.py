"""From a template to an answer: language, form token, cookies, and the headers every page has."""

import hashlib
from functools import partial
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from partner_onboarding.languages import COOKIE as LANGUAGE_COOKIE
from partner_onboarding.languages import LANGUAGES, Texts, language_of, load_texts, template_functions
from partner_onboarding.pages.forms import FORM_COOKIE, PROOF_FIELD, SESSION_COOKIE, FormTokens
from partner_onboarding.pages.scopes import words_of

_YEAR_SECONDS: Final = 365 * 86_400
_HEADERS: Final = {
    "Cache-Control": "no-store",
    # Not no-referrer: with that, browsers send `Origin: null` with a posted form, which is refused elsewhere.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class _Form:
    """What the templates of one answer ask for a form token; remembers whether one did."""

    def __init__(self, tokens: FormTokens, request: Request) -> None:
        self._tokens = tokens
        self._session = request.cookies.get(SESSION_COOKIE)
        known = request.cookies.get(FORM_COOKIE)
        self.cookie = known or tokens.new_cookie()
        self.new_cookie_needed = False
        self._is_known = known is not None

    def token(self) -> str:
        self.new_cookie_needed = not self._is_known
        return self._tokens.token(self.cookie, self._session)


class Pages:
    """Renders the pages of this service.

    Args:
        form_key: the key of the form tokens.
        always_secure: cookies are for https alone, however this request came (production).
    """

    def __init__(self, form_key: bytes, *, always_secure: bool) -> None:
        self.form_tokens = FormTokens(form_key)
        self._always_secure = always_secure
        self._texts = load_texts()
        self._environment = Environment(
            loader=PackageLoader("partner_onboarding"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["static"] = _static_addresses()
        # Jinja's own urlencode leaves a slash as it is.
        self._environment.filters["path_segment"] = partial(quote, safe="")

    def texts(self, request: Request) -> Texts:
        """The texts in the language of this request."""
        return self._texts[language_of(request)]

    def texts_in(self, language: str) -> Texts:
        """The texts of one of the `LANGUAGES`."""
        return self._texts[language]

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        leads_away: bool = False,
        here: str | None = None,
        **context: Any,
    ) -> Response:
        """A page.

        Args:
            leads_away: a form of the page ends, over a redirect, at another site. Chromium holds `form-action`
                against every step of a redirect, so such a page cannot name it.
            here: path and query under which the page can be asked for again; the request's own by default.
        """
        texts = self.texts(request)
        form = _Form(self.form_tokens, request)
        body = self._environment.get_template(template).render(
            template_functions(texts)
            | {
                "csrf_token": form.token,
                "csrf_field": PROOF_FIELD,
                "words_of": partial(words_of, texts),
                "in_language": {language: _in_language(request, here, language) for language in LANGUAGES},
            }
            | context
        )
        response = HTMLResponse(body, status, headers=_HEADERS)
        response.headers["Content-Language"] = texts.language
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
            + ("" if leads_away else "; form-action 'self'")
        )
        if form.new_cookie_needed:
            self.set_cookie(request, response, FORM_COOKIE, form.cookie)
        if request.query_params.get("lang") in LANGUAGES:
            self.set_cookie(request, response, LANGUAGE_COOKIE, texts.language, max_age=_YEAR_SECONDS)
        return response

    def redirect(self, path: str) -> Response:
        """See other: to a place within this site, asked for with GET."""
        return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})

    def set_cookie(
        self, request: Request, response: Response, name: str, value: str, *, max_age: int | None = None
    ) -> None:
        """A cookie for this site alone, out of reach for scripts; until the browser closes, without `max_age`."""
        secure = self._always_secure or request.app.state.proxies.scheme(request.scope) == "https"
        response.set_cookie(name, value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="lax")

    def delete_cookie(self, request: Request, response: Response, name: str) -> None:
        self.set_cookie(request, response, name, "", max_age=0)


def _in_language(request: Request, here: str | None, language: str) -> str:
    path, _, query = here.partition("?") if here is not None else (request.url.path, "", "")
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    if here is not None:
        return f"{path}?{query + '&' if query else ''}{urlencode({'lang': language})}"
    return f"{path}?{urlencode([*kept, ('lang', language)])}"


def _static_addresses() -> dict[str, str]:
    """File → address with a digest of its content, so that browsers may keep it for good."""
    directory = resources.files("partner_onboarding") / "static"
    return {
        file.name: f"/static/{file.name}?v={hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
        for file in directory.iterdir()
        if file.is_file()
    }
