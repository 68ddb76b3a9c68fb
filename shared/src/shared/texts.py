"""Texts that others send, in one normal form, at a cost that grows no faster than their length.

`unicodedata.normalize` sorts the marks that are piled up on one character, in time that grows with the square of their
number: 160 KB of marks take 11 s. So nothing but this module calls it, and only on a text whose length and piles are
bounded. A test holds the whole repository to that.
"""

import unicodedata
from typing import Final, Literal

#: Marks on one character: as many as Unicode's stream-safe text format allows (UAX #15). No language needs ten.
MAX_MARKS: Final = 30
#: The half-width voicing marks of Japanese, which are letters until NFKC makes marks of them.
_MARKS_IN_NFKC: Final = "\uff9e\uff9f"


class UnfitText(ValueError):
    """The text is too long, or piles up too many marks; the message says which."""


def normal_form(text: str, *, at_most: int, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    """`text` in its normal form, in which two spellings of the same text are equal.

    Args:
        at_most: characters, before and after: a normal form may be several times as long.
        form: NFC for everything but passwords, which NIST SP 800-63B-4 wants in NFKC.

    Raises:
        UnfitText: it is too long, or piles up more than `MAX_MARKS` marks on one character.
    """
    if len(text) > at_most:
        raise UnfitText(f"must have at most {at_most} characters")
    if text.isascii():
        return text
    if _piles_up_marks(text):
        raise UnfitText(f"must not have more than {MAX_MARKS} marks on one character")
    normal = unicodedata.normalize(form, text)
    if len(normal) > at_most:
        raise UnfitText(f"must have at most {at_most} characters in its normal form")
    return normal


def _piles_up_marks(text: str) -> bool:
    # By category and not by combining class: some marks of class 0 come apart into others.
    marks = 0
    for character in text:
        if character >= "\u0300" and (unicodedata.category(character)[0] == "M" or character in _MARKS_IN_NFKC):
            marks += 1
            if marks > MAX_MARKS:
                return True
        else:
            marks = 0
    return False
