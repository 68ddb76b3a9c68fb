"""The questions to token-service: links for mails, and their use.

token-service knows clients only, so this service registers a client for itself in each tenant whose people get mails.
It derives the secret from the pepper and needs to store nothing; operators see the client and its last use like any
other. A new pepper makes another client.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final

import httpx
from shared.db import Database
from shared.errors import Unavailable

from partner_onboarding.register.clients.domain import ClientIdTaken, Registration, own_client_id
from partner_onboarding.register.clients.service import Clients

_CAMPAIGN: Final = "email-confirmation"
_TIMEOUT_SECONDS: Final = 5.0
_SCOPES: Final = ("tokens:issue", "tokens:verify")


class TokenRefused(Exception):
    """token-service refused the token; `code` is its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class MailedLink:
    """A link that can be used once."""

    token: str
    url: str


class TokenClient:
    """Asks token-service.

    Args:
        key: derives the secrets of this service's own clients.
        transport: the way to token-service; tests pass its app.
    """

    def __init__(
        self,
        base_url: str,
        database: Database,
        clients: Clients,
        key: bytes,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=_TIMEOUT_SECONDS, trust_env=False, transport=transport
        )
        self._database = database
        self._clients = clients
        self._key = key
        self._registered: set[str] = set()

    async def issue(self, tenant: str, *, base_url: str, user_id: str, seconds: int) -> MailedLink:
        """A link below `base_url`, valid once and for this time.

        Raises:
            Unavailable: token-service cannot be asked.
        """
        order = {
            "base_url": base_url,
            "customer_id": user_id,
            "campaign_id": _CAMPAIGN,
            "duration": seconds,
            "max_uses": 1,
        }
        answer = await self._post(tenant, "/v1/tokens", order)
        if answer.status_code != httpx.codes.CREATED:
            raise Unavailable(log=f"token-service: status {answer.status_code}")
        fields = _fields(answer)
        return MailedLink(str(fields["token"]), str(fields["url_link"]))

    async def use(self, tenant: str, token: str) -> str:
        """Uses the token up. Returns its user.

        Raises:
            TokenRefused: expired, used, revoked or forged.
            Unavailable: token-service cannot be asked.
        """
        answer = await self._post(tenant, f"/v1/tokens/{token}/verify", {})
        fields = _fields(answer)
        if answer.status_code == httpx.codes.OK and fields.get("campaign_id") == _CAMPAIGN:
            return str(fields["customer_id"])
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.TOO_MANY_REQUESTS}:
            raise Unavailable(log=f"token-service: status {answer.status_code}")
        raise TokenRefused(str(fields.get("code", "token_not_found")))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _post(self, tenant: str, path: str, body: dict[str, Any]) -> httpx.Response:
        credentials = await self._credentials(tenant)
        try:
            answer = await self._http.post(path, json=body, auth=credentials)
        except httpx.HTTPError as error:
            raise Unavailable(log=f"token-service: {error!r}") from error
        if answer.is_server_error:
            raise Unavailable(log=f"token-service: status {answer.status_code}")
        return answer

    async def _credentials(self, tenant: str) -> tuple[str, str]:
        digest = hmac.digest(self._key, tenant.encode(), hashlib.sha256)
        secret = urlsafe_b64encode(digest).rstrip(b"=").decode()
        client_id = own_client_id(tenant, hashlib.sha256(digest).hexdigest()[:8])
        if tenant not in self._registered:
            registration = Registration(name="partner-onboarding: links in mails", scopes=_SCOPES)
            try:
                async with self._database.transaction() as connection:
                    await self._clients.register(
                        connection, tenant, registration, client_id=client_id, client_secret=secret
                    )
            except ClientIdTaken:
                # This service used it before.
                pass
            self._registered.add(tenant)
        return client_id, secret


def _fields(answer: httpx.Response) -> dict[str, Any]:
    try:
        fields = answer.json()
    except ValueError as error:
        raise Unavailable(log=f"token-service: cannot be understood: {error!r}") from error
    if not isinstance(fields, dict):
        raise Unavailable(log="token-service: cannot be understood")
    return fields
