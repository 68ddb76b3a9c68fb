"""The use cases of a single token beside issuing and verifying."""

from datetime import datetime

from shared.db import Database
from shared.errors import Unavailable

from token_service.counting.tally import Tally
from token_service.tokens import queries
from token_service.tokens.domain import Token, TokenNotFound
from token_service.tokens.verifying import Verifying, Visit


class TokenService:
    """One a process."""

    def __init__(self, database: Database, verifying: Verifying, tally: Tally) -> None:
        self._database = database
        self._verifying = verifying
        self._tally = tally

    async def revoke(self, tenant: str, text: str, visit: Visit) -> datetime:
        """Revokes the token; returns since when. A repeat gets the first answer.

        Raises:
            MalformedToken, InvalidSignature, TokenNotFound: as they say.
        """
        question = await self._verifying.locate(tenant, text, visit, only_look=True, count_refusal=False)
        async with self._database.transaction() as connection:
            revoked_at = await queries.revoke_token(connection, question.id, question.expiry_minute)
        if revoked_at is None:
            raise TokenNotFound
        return revoked_at

    async def statistics(self, tenant: str, text: str, visit: Visit) -> tuple[Token, dict[str, int]]:
        """The token in any state, and its refusals by reason.

        Raises:
            MalformedToken, InvalidSignature, TokenNotFound: as they say.
        """
        question = await self._verifying.locate(tenant, text, visit, only_look=True, count_refusal=False)
        await flush_quietly(self._tally)
        token = await self._verifying.find(question)
        async with self._database.transaction() as connection:
            return token, await queries.read_refusals(connection, question.id)


async def flush_quietly(tally: Tally) -> None:
    """Writes waiting counts, so that statistics include them. If that fails, statistics show the written ones."""
    try:
        await tally.flush()
    except Unavailable:
        return
