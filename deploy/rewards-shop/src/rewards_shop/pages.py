"""Pages out of templates."""

from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from rewards_shop.shapes import instant, outcome_text
from rewards_shop.texts import number, text
from rewards_shop.web import LANGUAGES, language

YEAR_SECONDS = 31_536_000


class Pages:
    """Renders pages in the language of the request; `account_url` is where the way back leads.

    Args:
        zone: in which pages write times.
    """

    def __init__(self, account_url: str, static: Path, zone: ZoneInfo) -> None:
        self._zone = zone
        self._account_url = account_url
        self._static = static
        self._templates = Environment(
            loader=PackageLoader("rewards_shop"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["instant"] = instant

    def render(self, request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        lang = language(request)
        page = self._templates.get_template(template).render(
            {
                "here": request.url.path,
                "balance": None,
                **context,
                "lang": lang,
                "languages": LANGUAGES,
                "t": partial(_text_in, lang),
                "number": lambda value: number(value, lang),
                "day": lambda seconds: _day(seconds, lang, self._zone),
                "outcome": lambda order, part: outcome_text(order, part, lang),
                "account_url": self._account_url,
                "static": self._address,
            }
        )
        response = HTMLResponse(page, status, {"Content-Language": lang, "Vary": "Accept-Language, Cookie, Accept"})
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie("shop_lang", lang, max_age=YEAR_SECONDS, samesite="lax", httponly=True)
        return response

    def _address(self, name: str) -> str:
        """The address of a static file, another one whenever its content is another."""
        digest = sha256((self._static / name).read_bytes()).hexdigest()[:8]
        return f"/static/{name}?v={digest}"


def _text_in(lang: str, key: str, **values: object) -> str:
    return text(key, lang, **values)


def _day(seconds: float, lang: str, zone: ZoneInfo) -> str:
    moment = datetime.fromtimestamp(seconds, zone)
    return moment.strftime("%d.%m.%Y, %H:%M %Z" if lang == "de" else "%d/%m/%Y, %H:%M %Z")
