"""Signing keys, built once and each for one algorithm, so that the key alone chooses the algorithm.

python-jose would pair any key with any algorithm, accept an empty secret, and load a PEM for 50–70 ms at every call. So
this module checks and constructs keys; callers keep them and use them through `shared.jwt.SigningKey`.
"""

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk
from shared.jwt import MIN_RSA_BITS, MIN_SECRET_BYTES, SigningKey, with_signature

from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import PrivateKey
from sso_issuer.own_signatures import SHARED, OwnSignatures
from sso_issuer.signing_processes import NoProcess, SigningProcesses


def of_private_key(kid: str, algorithm: Algorithm, private: PrivateKey) -> SigningKey:
    """The signing key of a key pair.

    Raises:
        ValueError: the key is not one for `algorithm`, or too small.
    """
    if algorithm is Algorithm.ES256:
        fits = isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1)
    else:
        fits = isinstance(private, rsa.RSAPrivateKey) and private.key_size >= MIN_RSA_BITS
    if not fits:
        raise ValueError(f"not a key for {algorithm}")
    return SigningKey(kid, algorithm.value, jwk.construct(private, algorithm.value))


def of_secret(kid: str, secret: bytes) -> SigningKey:
    """The HS256 signing key of a secret that a vendor shares.

    Raises:
        ValueError: the secret is shorter than 32 bytes.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret for HS256 has at least {MIN_SECRET_BYTES} bytes")
    return SigningKey(kid, "HS256", jwk.construct(secret, "HS256"))


class Signer:
    """Signs without blocking the event loop.

    RS256 computes for 0.3 ms. It runs in processes of its own, or, while there are none, in threads, one for each core.
    ES256 and HS256 take less time than a hand-over.
    """

    def __init__(self, processes: SigningProcesses) -> None:
        #: Those of key pairs that were made here and are to be remembered.
        self.signatures = OwnSignatures()
        self._cores = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="sign")
        self._processes = processes

    async def sign(
        self, key: SigningKey, claims: Mapping[str, Any], *, typ: str = "JWT", is_remembered: bool = False
    ) -> str:
        """The compact JWS of `claims` with `alg`, `kid` and `typ` in its header.

        Args:
            is_remembered: whether its signature will be asked about here, as those of access tokens are.
        """
        (token,) = await self.sign_all([(key, claims)], typ=typ, is_remembered=is_remembered)
        return token

    async def sign_all(
        self,
        orders: Sequence[tuple[SigningKey, Mapping[str, Any]]],
        *,
        typ: str = "JWT",
        is_remembered: bool = False,
    ) -> list[str]:
        """The same for many, in order."""
        slow = [place for place, (key, _) in enumerate(orders) if key.algorithm == Algorithm.RS256]
        tokens = ["" if key.algorithm == Algorithm.RS256 else key.sign(claims, typ) for key, claims in orders]
        if slow:
            texts = [orders[place][0].text(orders[place][1], typ) for place in slow]
            signatures = await self._sign_slowly([orders[place][0] for place in slow], texts)
            for place, text, signature in zip(slow, texts, signatures, strict=True):
                tokens[place] = with_signature(text, signature)
        if is_remembered:
            for (key, _), token in zip(orders, tokens, strict=True):
                if key.algorithm != SHARED:
                    self.signatures.note(token, key.kid)
        return tokens

    async def close(self) -> None:
        """Ends processes and threads."""
        await self._processes.close()
        self._threads.shutdown()

    async def _sign_slowly(self, keys: Sequence[SigningKey], texts: Sequence[str]) -> Sequence[bytes]:
        try:
            return await self._processes.sign_all(
                [(_private_der(key), sha256(text.encode()).digest()) for key, text in zip(keys, texts, strict=True)]
            )
        except NoProcess:
            return await self._sign_in_threads(list(zip(keys, texts, strict=True)))

    async def _sign_in_threads(self, orders: Sequence[tuple[SigningKey, str]]) -> list[bytes]:
        loop, signatures = asyncio.get_running_loop(), [b""] * len(orders)
        shares = [slice(first, None, self._cores) for first in range(min(self._cores, len(orders)))]
        signing = [loop.run_in_executor(self._threads, _sign_each, orders[share]) for share in shares]
        for share, signed in zip(shares, await asyncio.gather(*signing), strict=True):
            signatures[share] = signed
        return signatures


def _sign_each(orders: Sequence[tuple[SigningKey, str]]) -> list[bytes]:
    return [key.key.sign(text.encode()) for key, text in orders]


@functools.lru_cache(maxsize=1000)
def _private_der(key: SigningKey) -> bytes:
    private: rsa.RSAPrivateKey = key.key.prepared_key
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
