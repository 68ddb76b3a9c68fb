"""The register's checks of client secrets: those that wait together are made in one call."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from pydantic import BaseModel
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.register import CheckedClient, Client, Register

from sso_issuer.questions import Questions, in_parts

#: The register calls longer ids and secrets malformed, which would refuse the whole call.
_LONGEST: Final = 4096


class _Checked(BaseModel):
    clients: list[CheckedClient | None]


class SecretsRegister(Register, Protocol):
    """A register that also takes many questions at once."""

    async def check_all(self, credentials: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Client | None]:
        """What `check` says of each (client id, secret).

        Raises:
            Unavailable: the register cannot be asked.
        """


class SecretChecks:
    """A `SecretsRegister`. Each check is made after it was asked for: nothing is remembered."""

    def __init__(self, partner_onboarding: ServiceClient) -> None:
        self._service = partner_onboarding
        self._questions = Questions(self._check_all, name="secrets")

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        """The client, or None if id and secret do not match.

        Raises:
            Unavailable: the register cannot be asked.
        """
        if _is_endless(client_id, client_secret):
            return None
        return await self._questions.ask((client_id, client_secret))

    async def check_all(self, credentials: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Client | None]:
        """What `check` says of each (client id, secret), asked at once.

        Raises:
            Unavailable: the register cannot be asked.
        """
        nobodys: dict[tuple[str, str], Client | None] = dict.fromkeys(one for one in credentials if _is_endless(*one))
        return nobodys | await in_parts(self._check_all, (one for one in credentials if one not in nobodys))

    async def _check_all(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Client | None]:
        credentials = [{"client_id": client_id, "client_secret": secret} for client_id, secret in asked]
        answer = await self._service.ask("/internal/clients/check-many", {"credentials": credentials})
        checked = self._service.understand(_Checked, answer).clients
        if len(checked) != len(asked):
            raise Unavailable(log="the register answered for other credentials")
        return {one: None if client is None else client.client() for one, client in zip(asked, checked, strict=True)}


def _is_endless(client_id: str, client_secret: str) -> bool:
    return max(len(client_id), len(client_secret)) > _LONGEST
