"""Rules for characters in texts that people read."""

import unicodedata


def hides_something(value: str, allowed: str = "") -> bool:
    """Whether a text has invisible characters or ones that reverse reading order, so that different texts look the
    same."""
    hiding = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return any(unicodedata.category(character) in hiding and character not in allowed for character in value)


def is_text(value: str) -> bool:
    """Whether a text is free of control characters, lone surrogates and line ends, which cannot be stored or sent in
    mails."""
    return not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value)
