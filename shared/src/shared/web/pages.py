"""From a template to an answer: language, form token, cookies, frame, and the headers that every page has."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shared.proxies import ProxyTrust
from shared.web.addresses import is_loopback
from shared.web.cookies import SESSION, Cookies
from shared.web.forms import FORM_COOKIE, PRESS_FIELD, PROOF_FIELD, FormTokens
from shared.web.languages import COOKIE as LANGUAGE_COOKIE
from shared.web.languages import LANGUAGES, Texts, language_of, load_texts
from shared.web.settings import PageSettings
from shared.web.static_files import StaticFiles
from shared.web.visitors import visitor_of

_SHARED: Final = "shared.web"
_YEAR_SECONDS: Final = 365 * 86_400
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept, Accept-Language, Cookie",
}
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
#: Where programs on the reader's own machine wait for an answer (RFC 8252, 7.3).
_LOOPBACK: Final = "http://localhost:* http://127.0.0.1:*"
_OWN_TERMS: Final = "/register/terms"
_OWN_PRIVACY: Final = "/register/privacy"


class _Form:
    """What the templates of one answer ask for a form token; remembers whether one did."""

    def __init__(self, tokens: FormTokens | None, known: str | None, session: str | None) -> None:
        self._tokens = tokens
        self._known = known
        self._session = session
        self.new_cookie: str | None = None

    def token(self) -> str:
        if self._tokens is None:
            raise LookupError("the pages of this service have no form key")
        cookie = self._known or self.new_cookie
        if cookie is None:
            cookie = self.new_cookie = self._tokens.new_cookie()
        return self._tokens.token(cookie, self._session)


class Pages:
    """Renders the pages of one service in the frame that all services share.

    Args:
        package: has the directories `templates` and `texts`, and perhaps `static`.
        static_path: where the service serves style and scripts; the gateway leads it there.
        form_key: the key of the form tokens, for a service that has forms of its own.
        scripts: static files that every page may run; nothing needs them.
        home: where links to the platform's other pages lead, for pages that may be on a host of their own.
        functions: what the templates call beside what they all can, by name; each is handed the texts first.
    """

    def __init__(
        self,
        package: str,
        settings: PageSettings,
        proxies: ProxyTrust,
        *,
        static_path: str,
        form_key: bytes | None = None,
        scripts: Collection[str] = (),
        home: str = "",
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.cookies = Cookies(proxies, always_secure=settings.is_production)
        self._form_tokens = None if form_key is None else FormTokens(form_key, self.cookies)
        self._plain_http = not settings.is_production
        self._scripts = tuple(scripts)
        self._functions = functions or {}
        self._texts = load_texts(_SHARED, package)
        self._zones = settings.zones
        has_static = (resources.files(package) / "static").is_dir()
        self.static = StaticFiles.of(static_path, _SHARED, *([package] if has_static else []))
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader(package), PackageLoader(_SHARED)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "static": self.static.addresses(),
            "languages": LANGUAGES,
            "home": home,
            "product_name": settings.product_name,
            "footer_links": _footer_links(settings),
            "csrf_field": PROOF_FIELD,
            "press_field": PRESS_FIELD,
            "new_press": partial(secrets.token_urlsafe, 12),
        }
        # Jinja's own urlencode leaves a slash as it is.
        self._environment.filters["path_segment"] = partial(quote, safe="")

    @property
    def form_tokens(self) -> FormTokens:
        if self._form_tokens is None:
            raise LookupError("the pages of this service have no form key")
        return self._form_tokens

    def language(self, request: Request, among: Collection[str] = LANGUAGES) -> str:
        """The language of this request, among those there are."""
        return language_of(request, self.cookies.read(request, LANGUAGE_COOKIE), among)

    def texts(self, request: Request) -> Texts:
        """The texts in the language of this request, and in the time zone of the visitor's tenant."""
        return self._zoned(request, self.language(request))

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
        form_action: str | None = None,
        referrer_policy: str = "same-origin",
        here: str | None = None,
        among: Collection[str] = LANGUAGES,
        inline_script: str | None = None,
        **context: Any,
    ) -> Response:
        """A page.

        Args:
            leads_away: a form of the page ends, over a redirect, at another site. Chromium holds `form-action`
                against every step of a redirect, so such a page cannot name it.
            form_action: where forms may lead, as the policy says it, for a page that knows better.
            referrer_policy: with `no-referrer` browsers send `Origin: null` with a posted form, which is refused
                elsewhere; only for pages whose address is a secret.
            here: path and query under which the page can be asked for again; the request's own by default.
            among: the languages to choose from.
            inline_script: a static file that runs within the page, let in by its hash.
        """
        language = self.language(request, among)
        texts = self._zoned(request, language)
        form = _Form(
            self._form_tokens,
            None if self._form_tokens is None else self._form_tokens.known_cookie(request),
            self.cookies.read(request, SESSION),
        )
        script = None if inline_script is None else self.static.by_name[inline_script].content.decode()
        body = self._environment.get_template(template).render(
            {
                "texts": texts,
                "t": texts.say,
                "count": texts.count,
                "number": texts.number,
                "time": texts.time,
                "language": language,
                "in_language": {code: _in_language(request, here, code) for code in among},
                "csrf_token": form.token,
                "visitor": visitor_of(request),
                "path": request.scope["path"],
                "scripts": self._scripts,
                "inline_script": None if script is None else Markup(script),  # noqa: S704 — our own file
            }
            | {name: partial(function, texts) for name, function in self._functions.items()}
            | context
        )
        response = HTMLResponse(body, status, headers=_HEADERS)
        response.headers["Content-Language"] = language
        response.headers["Referrer-Policy"] = referrer_policy
        response.headers["Content-Security-Policy"] = self._policy(leads_away, form_action, script)
        if self.cookies.is_secure(request) and not is_loopback(request.url.hostname):
            response.headers["Strict-Transport-Security"] = f"max-age={2 * _YEAR_SECONDS}"
        if form.new_cookie is not None:
            self.cookies.set(request, response, FORM_COOKIE, form.new_cookie)
        if request.query_params.get("lang") in among:
            self.cookies.set(request, response, LANGUAGE_COOKIE, language, max_age=_YEAR_SECONDS)
        return response

    def redirect(self, path: str) -> Response:
        """See other: to a place within this site, asked for with GET."""
        return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})

    def _zoned(self, request: Request, language: str) -> Texts:
        visitor = visitor_of(request)
        return replace(self._texts[language], zone=self._zones.of(visitor.tenant if visitor else ""))

    def _policy(self, leads_away: bool, form_action: str | None, script: str | None) -> str:
        sources = ["'self'"] if self._scripts else []
        if script is not None:
            sources.append(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'")
        away = "'self'"
        if leads_away:
            away = f"'self' https: {'http:' if self._plain_http else _LOOPBACK}"
        policy = f"{_POLICY}; form-action {form_action or away}"
        return f"{policy}; script-src {' '.join(sources)}" if sources else policy


def _in_language(request: Request, here: str | None, language: str) -> str:
    path, _, query = here.partition("?") if here is not None else (quote(request.scope["path"]), "", "")
    if here is None:
        kept = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
        return f"{path}?{urlencode([*kept, ('lang', language)])}"
    return f"{path}?{query + '&' if query else ''}{urlencode({'lang': language})}"


def _footer_links(settings: PageSettings) -> Mapping[str, str]:
    """Key of the link's text → where it leads."""
    links = {
        "help": settings.help_url,
        "terms": settings.terms_url or _OWN_TERMS,
        "privacy": settings.privacy_url or _OWN_PRIVACY,
        "imprint": settings.imprint_url,
    }
    return {key: address for key, address in links.items() if address is not None}
