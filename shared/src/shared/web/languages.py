"""The language of a page, and its texts."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from importlib import resources
from typing import Final

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time, get_timezone_name
from babel.numbers import format_decimal, format_percent
from starlette.requests import Request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

#: Code → the language's own name, in the order of the switch. The first is for those who ask for neither.
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "de": "Deutsch"}
#: How a language writes dates and numbers: English as in Britain.
_LOCALES: Final[Mapping[str, str]] = {"en": "en_GB", "de": "de_DE"}
#: The cookie that keeps the language that somebody chose, on the pages of all services.
COOKIE: Final = "lang"
_MAX_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of one language, and its way of writing numbers and times.

    Times are written in `zone`.
    """

    language: str
    by_key: Mapping[str, str]
    zone: tzinfo = UTC

    @property
    def locale(self) -> Locale:
        return Locale.parse(_LOCALES[self.language])

    def say(self, key: str, **values: object) -> str:
        """The text of `key` (`login.title`) with its values filled in; a missing key or value is an error."""
        return self.by_key[key].format(**values)

    def has(self, key: str) -> bool:
        return key in self.by_key

    def count(self, key: str, number: int) -> str:
        """`1 point`, `1,250 points`: the number in the language's way of writing, with the fitting noun."""
        return self.say(f"{key}.{self.locale.plural_form(number)}", number=self.number(number))

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self.locale)

    def share(self, part: int, whole: int) -> str:
        """`12.5 %`: a part of a whole; nothing of nothing is 0 %."""
        return format_percent(part / whole if whole else 0, format="#,##0.#%", locale=self.locale)

    def day(self, moment: datetime) -> str:
        """`29 Nov 2026`"""
        return format_date(moment.astimezone(self.zone), "medium", locale=self.locale)

    def hour(self, moment: datetime) -> str:
        """`29 Nov, 14:00`"""
        moment = moment.astimezone(self.zone)
        day = format_skeleton("MMMd", moment, tzinfo=self.zone, locale=self.locale)
        return f"{day}, {format_skeleton('Hm', moment, tzinfo=self.zone, locale=self.locale)}"

    def time(self, moment: datetime, *, seconds: bool = False) -> str:
        """`29 Nov 2026, 14:05 CET`"""
        moment = moment.astimezone(self.zone)
        clock = format_time(moment, "medium" if seconds else "short", tzinfo=self.zone, locale=self.locale)
        return f"{self.day(moment)}, {clock} {self.zone_name(moment)}"

    def zone_name(self, moment: datetime) -> str:
        """`UTC`, `CET`, `UTC+0900`: what the zone is called at that moment."""
        if self.zone is UTC:
            return "UTC"
        name = get_timezone_name(moment.astimezone(self.zone), width="short", locale=self.locale)
        return f"UTC{name}" if name[:1] in {"+", "-"} else name


def load_texts(*packages: str) -> dict[str, Texts]:
    """The texts of every language, from the directory `texts` of each package; later packages win.

    A language has one or several files: `en.toml`, `registration.en.toml`.
    """
    return {language: Texts(language, _read(packages, language)) for language in LANGUAGES}


def language_of(request: Request, cookie: str | None, among: Collection[str] = LANGUAGES) -> str:
    """The language asked for: by `?lang=`, else remembered in the cookie, else by `Accept-Language`.

    Args:
        among: the languages to be had; the first of them is for those who ask for none of them.
    """
    for asked in (request.query_params.get("lang"), cookie):
        if asked in among:
            return str(asked)
    return accepted_language(request.headers.get("accept-language"), among) or next(iter(among))


def accepted_language(header: str | None, among: Collection[str] = LANGUAGES) -> str | None:
    """The best of these languages in an `Accept-Language` header (RFC 9110, 12.5.4); `de-AT` is German."""
    for tag, weight in parse_accept_header((header or "")[:_MAX_CHARACTERS], LanguageAccept):
        language = tag.replace("_", "-").partition("-")[0].lower()
        if weight > 0 and language in among:
            return language
    return None


def _read(packages: Collection[str], language: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for package in packages:
        directory = resources.files(package) / "texts"
        sources = sorted(
            (file for file in directory.iterdir() if f".{file.name}".endswith(f".{language}.toml")),
            key=lambda file: file.name,
        )
        for source in sources:
            sections: dict[str, dict[str, str]] = tomllib.loads(source.read_text(encoding="utf-8"))
            texts |= {f"{section}.{name}": text for section, names in sections.items() for name, text in names.items()}
    return texts
