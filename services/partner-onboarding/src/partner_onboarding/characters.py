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


#: Letters and symbols that leave a blank: the fillers of Hangul, an empty pattern of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def shows_something(value: str) -> bool:
    """Whether at least one character leaves a mark on paper: a letter, a digit, a sign."""
    return any(character not in _BLANK and unicodedata.category(character)[0] in "LNPS" for character in value)
