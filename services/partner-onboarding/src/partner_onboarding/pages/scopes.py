"""Scopes in words that people understand."""

from collections.abc import Iterable

from shared.web.languages import Texts


def words_of(texts: Texts, scopes: Iterable[str]) -> dict[str, str]:
    """Scope by scope what it allows, in the language of the texts."""
    return {scope: texts.say(f"scope.{scope.replace(':', '_')}") for scope in scopes}
