"""Which language a page is shown in, and what it says in it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_decimal
from starlette.requests import Request

#: Code → the language's own name, in the order of the switch. The first is shown to those who ask for neither.
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "de": "Deutsch"}
COOKIE: Final = "lang"


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of one language."""

    language: str
    _texts: Mapping[str, str]
    _locale: Locale

    def say(self, key: str, **values: object) -> str:
        """The text of `key` (`login.title`) with its values filled in; a missing key or value is an error."""
        return self._texts[key].format(**values)

    def count(self, key: str, number: int) -> str:
        """`1 point`, `1,250 points`: the number in the language's way of writing, with the fitting noun."""
        return self.say(f"{key}.{self._locale.plural_form(number)}", number=self.number(number))

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self._locale)

    def time(self, moment: datetime) -> str:
        moment = moment.astimezone(UTC)
        day = format_date(moment, "medium", locale=self._locale)
        return f"{day}, {format_time(moment, 'short', locale=self._locale)} UTC"


@cache
def load_texts() -> Mapping[str, Texts]:
    """The texts of every language; read once."""
    return {language: _load(language) for language in LANGUAGES}


def _load(language: str) -> Texts:
    return Texts(language, read_texts(language), Locale.parse(language))


def read_texts(language: str) -> dict[str, str]:
    """Key (`login.title`) → text, from all files of the language: `en.toml`, `third-parties.en.toml`."""
    directory = resources.files("partner_onboarding") / "texts"
    sources = sorted(
        (file for file in directory.iterdir() if f".{file.name}".endswith(f".{language}.toml")),
        key=lambda file: file.name,
    )
    texts: dict[str, str] = {}
    for source in sources:
        sections: dict[str, dict[str, str]] = tomllib.loads(source.read_text(encoding="utf-8"))
        texts |= {f"{section}.{name}": text for section, names in sections.items() for name, text in names.items()}
    return texts


def language_of(request: Request) -> str:
    """The language asked for: by `?lang=`, else remembered in the cookie, else by `Accept-Language`."""
    for asked in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if asked in LANGUAGES:
            return str(asked)
    return _accepted(request.headers.get("accept-language", "")) or next(iter(LANGUAGES))


def _accepted(header: str) -> str | None:
    """The best of our languages in an `Accept-Language` header (RFC 9110, 12.5.4); `de-AT` is German."""
    best: tuple[float, str] | None = None
    for part in header.split(",")[:20]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        language = name.partition("-")[0]
        quality = _quality(parameters)
        if language in LANGUAGES and quality > 0 and (best is None or quality > best[0]):
            best = (quality, language)
    return best[1] if best is not None else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def template_functions(texts: Texts) -> dict[str, Any]:
    """What templates call to speak."""
    return {
        "t": texts.say,
        "count": texts.count,
        "number": texts.number,
        "time": texts.time,
        "language": texts.language,
        "languages": LANGUAGES,
    }
