"""What follows `Basic` in an Authorization header (RFC 7617)."""

import base64
import binascii

from shared.errors import Unauthenticated


def split_basic(credentials: bytes) -> tuple[str, str]:
    """The client's id and secret.

    Raises:
        Unauthenticated: they cannot be read.
    """
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("Basic credentials are base64 of client_id:client_secret.") from None
    client_id, colon, secret = text.partition(":")
    if not colon or not client_id or not secret or "\0" in text:
        raise Unauthenticated("Basic credentials are base64 of client_id:client_secret.")
    return client_id, secret
