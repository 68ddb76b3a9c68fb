"""The program of a signing process: it signs digests for its parent with RS256, and does nothing else.

    parent: length of the key, number of digests, the private key (PKCS #8), SHA-256 digests
    child:  length of what follows, the signatures one after the other

The key comes with each request, over a socket that only the two have: nothing has to be kept in step, and neither
arguments nor environment ever hold a key. The process ends when its parent closes the socket or is gone.
"""

import functools
import os
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_private_key

DIGEST_BYTES: Final = 32
REQUEST: Final = struct.Struct("!II")
REPLY: Final = struct.Struct("!I")
#: Keys that stay loaded, which takes as long as a signature.
_LOADED: Final = 1000
_PADDING: Final = padding.PKCS1v15()
_HASHED: Final = utils.Prehashed(hashes.SHA256())


def request_of(key: bytes, digests: Sequence[bytes]) -> bytes:
    """A request as it is sent."""
    return b"".join((REQUEST.pack(len(key), len(digests)), key, *digests))


def sign_all(key: bytes, digests: Sequence[bytes]) -> list[bytes]:
    """Signatures by RS256 over digests."""
    loaded = _load(key)
    return [loaded.sign(digest, _PADDING, _HASHED) for digest in digests]


@functools.lru_cache(maxsize=_LOADED)
def _load(key: bytes) -> rsa.RSAPrivateKey:
    # The parent has validated it, which takes a hundred times as long as a signature.
    loaded = load_der_private_key(key, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError("this is no RSA key")
    return loaded


def _serve(parent: socket.socket) -> None:
    with parent.makefile("rb") as requests:
        while head := requests.read(REQUEST.size):
            length, count = REQUEST.unpack(head)
            key, digests = requests.read(length), requests.read(count * DIGEST_BYTES)
            if len(digests) < count * DIGEST_BYTES:
                return
            signed = (
                sign_all(key, [digests[place : place + DIGEST_BYTES] for place in range(0, len(digests), DIGEST_BYTES)])
                if count
                else []
            )
            answer = b"".join(signed)
            parent.sendall(REPLY.pack(len(answer)) + answer)


def _let_others_go_first() -> None:
    """Has this process, when a request wakes it, wait until a processor is free or its turn comes.

    Else it would interrupt the parent in the middle of sending the request, and the parent would prepare no further
    batch for as long as the signatures take. Its share of the processor stays the same.
    """
    # A container may forbid it, which costs speed alone.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> None:
    """Serves the parent, whose socket is the standard input."""
    # Signals to the whole group are for the parent, which still needs signatures while it finishes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _let_others_go_first()
    with socket.socket(fileno=0) as parent:
        _serve(parent)


if __name__ == "__main__":
    main()
