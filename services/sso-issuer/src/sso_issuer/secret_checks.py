"""The register's checks of client secrets: those that wait together are made in one call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.group_commit import GroupCommit
from shared.register import CheckedClient, Client
from shared.request_frame import RequestContext, current_request

_PATIENCE_SECONDS: Final = 4.0
#: The register takes no more in one call.
_AT_ONCE: Final = 256
#: The register calls longer ids and secrets malformed, which would refuse the whole call.
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    client_secret: str
    #: The request that waits for the answer.
    asked_for: RequestContext | None = field(default_factory=current_request.get, compare=False)


class _Checked(BaseModel):
    clients: list[CheckedClient | None]


class SecretChecks:
    """A `Register`. Each check is made after it was asked for: nothing is remembered."""

    def __init__(self, partner_onboarding: ServiceClient) -> None:
        self._service = partner_onboarding
        # Tried once: the client asks again by itself.
        self._line = GroupCommit[_Credentials, Client | None](
            self._check_all, name="secrets", batch_size=_AT_ONCE, attempts=1, patience_seconds=_PATIENCE_SECONDS
        )

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        """The client, or None if id and secret do not match.

        Raises:
            Unavailable: the register cannot be asked.
        """
        if max(len(client_id), len(client_secret)) > _LONGEST:
            return None
        return await self._line.submit(_Credentials(client_id, client_secret))

    async def _check_all(self, asked: Sequence[_Credentials]) -> Sequence[Client | Exception | None]:
        different = list(dict.fromkeys(asked))
        # The lane's own context; the call goes by the id of the first request that waits for it.
        current_request.set(asked[0].asked_for)
        credentials = [{"client_id": one.client_id, "client_secret": one.client_secret} for one in different]
        try:
            answer = await self._service.ask("/internal/clients/check-many", {"credentials": credentials})
            checked = self._service.understand(_Checked, answer).clients
            if len(checked) != len(different):
                raise Unavailable(log="the register answered for other credentials")
        except Unavailable as refusal:
            # A refusal of its own for each request, since an exception remembers where it was raised.
            return [Unavailable(log=refusal.log) for _ in asked]
        found = {
            one: None if client is None else client.client() for one, client in zip(different, checked, strict=True)
        }
        return [found[one] for one in asked]
