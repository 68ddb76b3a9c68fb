"""Cases of `normalise_before_bound.yaml`; `semgrep --test` runs them, nothing else does."""

import unicodedata
from unicodedata import normalize

from shared.texts import normal_form


def compare(text):
    # ruleid: normalise-before-bound
    unicodedata.normalize("NFC", text)
    # ruleid: normalise-before-bound
    normalize("NFKC", text[:100])
    # ruleid: normalise-before-bound
    unicodedata.is_normalized("NFC", text)
    # ok: normalise-before-bound
    normal_form(text, at_most=100)
    # ok: normalise-before-bound
    unicodedata.category(text[0])
