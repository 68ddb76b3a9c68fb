"""Which language a page is shown in, and what it says in it."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime, format_skeleton
from babel.numbers import format_decimal, format_percent
from starlette.requests import Request

#: Code → the language's own name, in the order of the switch. The first is shown to those who ask for neither.
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "de": "Deutsch"}
#: Set by the platform's other pages as well: whoever chose a language there has it here.
COOKIE: Final = "lang"


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of one language, and its way of writing numbers and times."""

    language: str
    _texts: Mapping[str, str]
    _locale: Locale

    def say(self, key: str, **values: object) -> str:
        """The text of `key` (`campaign.title`) with its values filled in; a missing key or value is an error."""
        return self._texts[key].format(**values)

    def has(self, key: str) -> bool:
        return key in self._texts

    def reason(self, code: str) -> str:
        """A refusal's code in words; the code itself where there are none."""
        return self._texts.get(f"reason.{code}", code)

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self._locale)

    def share(self, part: int, whole: int) -> str:
        return format_percent(part / whole if whole else 0, format="#,##0.#%", locale=self._locale)

    def day(self, moment: datetime) -> str:
        return format_date(moment, "medium", locale=self._locale)

    def hour(self, moment: datetime) -> str:
        day = format_skeleton("MMMd", moment, locale=self._locale)
        return f"{day}, {format_skeleton('Hm', moment, locale=self._locale)}"

    def time(self, moment: datetime) -> str:
        return format_datetime(moment, "medium", locale=self._locale) + " UTC"


def load_texts() -> dict[str, Texts]:
    """The texts of every language."""
    return {language: _load(language) for language in LANGUAGES}


def _load(language: str) -> Texts:
    source = resources.files("token_service.pages") / "texts" / f"{language}.toml"
    sections: dict[str, dict[str, str]] = tomllib.loads(source.read_text(encoding="utf-8"))
    texts = {f"{section}.{name}": text for section, names in sections.items() for name, text in names.items()}
    return Texts(language, texts, Locale.parse(language))


def language_of(request: Request, among: Collection[str] = LANGUAGES) -> str:
    """The language asked for: by `?lang=`, else remembered in the cookie, else by `Accept-Language`.

    Args:
        among: the languages to be had; the first of them for those who ask for none of them.
    """
    for asked in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if asked in among:
            return str(asked)
    return _accepted(request.headers.get("accept-language", ""), among) or next(iter(among))


def _accepted(header: str, among: Collection[str]) -> str | None:
    """The best of these languages in an `Accept-Language` header (RFC 9110, 12.5.4); `de-AT` is German."""
    best: tuple[float, str] | None = None
    for part in header.split(",")[:20]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        language = name.partition("-")[0]
        quality = _quality(parameters)
        if language in among and quality > 0 and (best is None or quality > best[0]):
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
