"""What a file is, before its first row: its encoding, or the name of what cannot be read."""

import codecs
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.errors import Malformed, UnsupportedMediaType

#: As many bytes tell what a file is.
_PEEK_BYTES: Final = 8
_MAGIC: Final[Mapping[bytes, tuple[str, str]]] = {
    b"\x1f\x8b": ("gzip", "Unpack it before you send it."),
    b"PK\x03\x04": ("an Excel workbook (.xlsx) or another zip archive", "Save it as CSV."),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook (.xls)", "Save it as CSV."),
    b"%PDF": ("a PDF", "Send CSV or NDJSON."),
    b"BZh": ("bzip2", "Unpack it before you send it."),
    b"\x28\xb5\x2f\xfd": ("zstd", "Unpack it before you send it."),
    b"\xfd7zXZ": ("xz", "Unpack it before you send it."),
    b"\xff\xfe\x00\x00": ("UTF-32", "Save it in UTF-8."),
    b"\x00\x00\xfe\xff": ("UTF-32", "Save it in UTF-8."),
}
#: What clients call an encoding → what it is called here.
_CHARSETS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("utf-16", "utf16"), "utf-16"),
    **dict.fromkeys(("utf-16le", "utf-16-le"), "utf-16le"),
    **dict.fromkeys(("utf-16be", "utf-16-be"), "utf-16be"),
    # As in browsers: latin-1 means the Windows code page, which has more letters.
    **dict.fromkeys(("windows-1252", "cp1252", "cp-1252", "iso-8859-1", "iso8859-1", "latin1"), "windows-1252"),
}


class UnreadableList(Malformed):
    """The file is nothing that can be read row by row; `found` names what it is."""

    code = "unreadable_list"

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(f"This is {found}. {advice}", found=found)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a list is written, and so its answer.

    Attributes:
        charset: as `Content-Type` says it.
        codec: Python's name.
        mark: the byte order mark at its beginning, or nothing.
    """

    charset: str
    codec: str
    mark: bytes = b""

    @property
    def _errors(self) -> str:
        """Bytes that are no text come through and go back as they came, to be refused row by row."""
        return "replace" if self.charset == "utf-16" else "surrogateescape"

    def check_is_utf_8(self) -> None:
        """Raises UnreadableList for anything else, as JSON may not be."""
        if self.charset != "utf-8":
            raise UnreadableList(f"JSON in {self.charset}", "Send it in UTF-8.")

    def decoder(self) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder(self.codec)(self._errors)

    def encode(self, text: str) -> bytes:
        """The text as the list is written. What the encoding has no letter for becomes a question mark."""
        try:
            return text.encode(self.codec, self._errors)
        except UnicodeEncodeError:
            return text.encode(self.codec, "replace")


async def recognise(chunks: AsyncIterator[bytes], charset: str | None = None) -> tuple[Encoding, AsyncIterator[bytes]]:
    """How a file is written, and its bytes behind the byte order mark.

    Args:
        charset: what the sender says; None where they say nothing.

    Raises:
        UnsupportedMediaType: a charset that is not taken.
        UnreadableList: the file is something else, or contradicts its charset.
    """
    said = None if charset is None else _CHARSETS.get(charset.lower())
    if charset is not None and said is None:
        raise UnsupportedMediaType(f"Lists are taken in UTF-8, UTF-16 or windows-1252, not in {charset[:40]!r}.")
    head = b""
    while len(head) < _PEEK_BYTES:
        chunk = await anext(chunks, None)
        if chunk is None:
            break
        head += chunk
    for magic, (found, advice) in _MAGIC.items():
        if head.startswith(magic):
            raise UnreadableList(found, advice)
    encoding = _encoding_of(head, said)
    return encoding, _behind(head.removeprefix(encoding.mark), chunks)


def _encoding_of(head: bytes, said: str | None) -> Encoding:
    for mark, charset, codec in (
        (codecs.BOM_UTF8, "utf-8", "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
    ):
        if head.startswith(mark):
            if said is not None and said not in {charset, codec.replace("16-", "16")}:
                raise UnreadableList(f"{charset.upper()} by its byte order mark", f"Its charset says {said}.")
            return Encoding(charset, codec, mark)
    if said == "utf-16" or (said is None and _is_utf_16_by_its_zeros(head)):
        raise UnreadableList(
            "no text, or UTF-16 without a byte order mark", "Save it in UTF-8, or in UTF-16 with the mark."
        )
    if said in {"utf-16le", "utf-16be"}:
        return Encoding("utf-16", f"utf-16-{said[-2:]}")
    return Encoding("windows-1252", "cp1252") if said == "windows-1252" else Encoding("utf-8", "utf-8")


def _is_utf_16_by_its_zeros(head: bytes) -> bool:
    """Every second byte of Latin letters is zero."""
    return len(head) >= 4 and b"\0\0" in {head[0:4:2], head[1:4:2]}


async def _behind(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in chunks:
        yield chunk
