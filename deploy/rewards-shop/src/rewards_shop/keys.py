"""The issuer's public keys: fetched, remembered as long as it says, fetched again for an unknown key id."""

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Any

import httpx
from jose import jwk
from jose.exceptions import JWKError

from rewards_shop.platform_client import Clock

log = logging.getLogger(__name__)

DEFAULT_MAX_AGE_SECONDS = 300
LONGEST_MAX_AGE_SECONDS = 3600
REFETCH_PAUSE_SECONDS = 10
PAUSE_AFTER_TROUBLE_SECONDS = 1
KEEP_THROUGH_TROUBLE_SECONDS = 3600
SMALLEST_RSA_BITS = 2048


class KeysUnavailable(Exception):
    """The issuer's keys could not be fetched, so no token can be judged."""


@dataclass(frozen=True)
class PublicKey:
    """A key made ready once (that is the slow part), good for exactly one algorithm."""

    kid: str
    algorithm: str
    _key: Any

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        return bool(self._key.verify(signed, signature))


def read_key(entry: object) -> PublicKey | None:
    """A key of the set, or None if it is not one the shop would believe: anything but RS256 or ES256."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, kty = entry.get("kid"), entry.get("kty")
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(kty))
    if not isinstance(kid, str) or not kid or algorithm is None:
        return None
    if entry.get("alg", algorithm) != algorithm or (kty == "EC" and entry.get("crv") != "P-256"):
        return None
    try:
        # Only the public members, by name: the algorithm comes from the key's kind, never from the token.
        public = {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in entry}
        key = jwk.construct(public, algorithm)
    except (JWKError, KeyError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and key.prepared_key.key_size < SMALLEST_RSA_BITS:
        return None
    return PublicKey(kid, algorithm, key)


class IssuerKeys:
    """The issuer's key set by exact key id."""

    def __init__(self, http: httpx.AsyncClient, jwks_url: str, *, clock: Clock) -> None:
        self._http = http
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        self._fetched_at = self._next_try_at = float("-inf")
        self._good_for_seconds = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def find(self, kid: str) -> PublicKey | None:
        """The key with this id. An id nobody has heard of costs at most one request in ten seconds."""
        async with self._one_at_a_time:
            now = self._clock()
            stale = now - self._fetched_at >= self._good_for_seconds
            if (stale or kid not in self._keys) and now >= self._next_try_at:
                await self._refresh(now)
            if now - self._fetched_at >= max(self._good_for_seconds, KEEP_THROUGH_TROUBLE_SECONDS):
                raise KeysUnavailable
            return self._keys.get(kid)

    async def _refresh(self, now: float) -> None:
        self._next_try_at = now + PAUSE_AFTER_TROUBLE_SECONDS
        try:
            # auth=None: the server of public keys must not get the shop's password.
            response = await self._http.get(self._jwks_url, auth=None)
            response.raise_for_status()
            keys = list(map(read_key, _entries(response.json())))
        except (httpx.HTTPError, ValueError) as error:
            log.warning("the issuer's keys could not be fetched: %s", type(error).__name__)
            return  # The keys of before stay good for a while: one bad minute there must not close the shop.
        self._keys = {key.kid: key for key in keys if key is not None}
        self._fetched_at = now
        self._next_try_at = now + REFETCH_PAUSE_SECONDS
        self._good_for_seconds = _max_age_seconds(response.headers.get("Cache-Control", ""))


def _entries(key_set: object) -> list[object]:
    entries = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a key set")
    return entries


def _max_age_seconds(cache_control: str) -> float:
    found = re.search(r"\bmax-age=(\d+)", cache_control)
    return min(int(found[1]) if found else DEFAULT_MAX_AGE_SECONDS, LONGEST_MAX_AGE_SECONDS)
