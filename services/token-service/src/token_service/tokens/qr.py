"""Links as QR codes, for paper."""

import io
from functools import lru_cache
from typing import Final

import segno

#: Error correction for a quarter of the code: it is printed on things that get dirty.
_ERROR_CORRECTION: Final = "q"
_SCALE: Final = 8
#: The quiet zone that ISO/IEC 18004 asks for, in modules.
_BORDER: Final = 4


def qr_svg(link: str) -> bytes:
    return _drawn(link, "svg")


def qr_png(link: str) -> bytes:
    return _drawn(link, "png")


@lru_cache(maxsize=256)
def _drawn(link: str, kind: str) -> bytes:
    drawing = io.BytesIO()
    code = segno.make_qr(link, error=_ERROR_CORRECTION)
    if kind == "svg":
        # A view box instead of a size, so that the picture scales.
        code.save(drawing, kind="svg", border=_BORDER, omitsize=True, light="#fff", title=link)
    else:
        code.save(drawing, kind="png", border=_BORDER, scale=_SCALE)
    return drawing.getvalue()
