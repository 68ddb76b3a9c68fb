"""Which characters a text may hold that people read."""

import unicodedata


def hides_something(value: str, allowed: str = "") -> bool:
    """Characters that do not show, or turn the order of what is read: two texts that look the same would not be."""
    hiding = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return any(unicodedata.category(character) in hiding and character not in allowed for character in value)


def is_text(value: str) -> bool:
    """Neither control characters nor lone surrogates nor ends of a line: they cannot be stored or stand in a mail's
    head, and nobody types them."""
    return not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value)
