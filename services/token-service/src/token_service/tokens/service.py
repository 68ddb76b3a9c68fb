"""The use cases of a single token beside issuing and verifying."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.acts import Act, note
from shared.db import Database, driver_of
from shared.errors import Unavailable
from shared.events.outbox import record
from shared.times import iso

from token_service.clock import DatabaseClock
from token_service.counting.tally import Tally
from token_service.events import token_revoked, token_used_up
from token_service.keys.store import read_clock
from token_service.tables import acts, events
from token_service.tokens import queries, store
from token_service.tokens.domain import Token, TokenNotFound, TokenState, change, name_of, state_of
from token_service.tokens.issuing import NeverValid
from token_service.tokens.verifying import Verifying, Visit


class TokenService:
    """One a process."""

    def __init__(self, database: Database, verifying: Verifying, tally: Tally, clock: DatabaseClock) -> None:
        self._database = database
        self._verifying = verifying
        self._tally = tally
        self._clock = clock

    async def revoke(self, tenant: str, text: str, visit: Visit, *, client_id: str) -> datetime:
        """Revokes the token; returns since when. A repeat gets the first answer.

        Raises:
            MalformedToken, InvalidSignature, TokenNotFound: as they say.
        """
        question = await self._verifying.locate(tenant, text, visit, only_look=True, count_refusal=False)
        token = await self._verifying.find(question)
        async with self._database.transaction() as connection:
            revoked_at, is_new = await queries.revoke_token(connection, question.id, question.expiry_minute)
            if revoked_at is not None and is_new:
                await record(connection, events, tenant, [token_revoked(token, revoked_at)])
                before, after = {"revoked_at": None}, {"revoked_at": iso(revoked_at)}
                details = {"campaign_id": token.terms.campaign_id}
                act = Act(tenant, client_id, "token_revoked", name_of(token.id), before, after, details)
                await note(connection, acts, act, revoked_at)
        if revoked_at is None:
            raise TokenNotFound
        return revoked_at

    async def look(self, tenant: str, text: str, visit: Visit, *, any_state: bool) -> tuple[Token, TokenState]:
        """The token and what has become of it, without counting or using up.

        Args:
            any_state: whether one that is not good any more is shown instead of refused.

        Raises:
            Refusal: as `Verifying.look`; with `any_state` only what is no token of ours.
        """
        if any_state:
            question = await self._verifying.locate(tenant, text, visit, only_look=True, count_refusal=False)
            token = await self._verifying.find(question)
        else:
            token = await self._verifying.look(tenant, text, visit)
        return token, state_of(token, self._clock.about_now())

    async def change(
        self, tenant: str, text: str, visit: Visit, changed: Mapping[str, Any], *, client_id: str
    ) -> tuple[Token, TokenState]:
        """Gives a token other terms, or another end that it reaches before the one it was made with.

        Raises:
            NeverValid: it would never be good.
            Refusal: no token of ours, or as `domain.change` says.
        """
        question = await self._verifying.locate(tenant, text, visit, only_look=True, count_refusal=False)
        # Uses that wait count before a quota does.
        await flush_quietly(self._tally)
        async with self._database.transaction() as connection:
            # The transaction begins with this statement: the driver's own would begin none.
            await read_clock(connection)
            driver = await driver_of(connection)
            found = await store.lock_tokens(driver, [question.id])
            now = await read_clock(connection)
            former = self._verifying.trusted(question, found.get(question.id))
            try:
                token = change(former, now, changed)
            except ValueError as error:
                raise NeverValid(f"The token would never be good: {error}.") from None
            await store.write_content(driver, token, self._verifying.authenticate(token))
            if token.is_used_up and not former.is_used_up:
                await record(connection, events, tenant, [token_used_up(token, now)])
            before, after = _in_words(former), _in_words(token)
            if before != after or former.terms != token.terms:
                # The values of attributes stay with the token, which is purged before the audit is.
                has_other_attributes = former.terms.attributes != token.terms.attributes
                details = {"campaign_id": token.terms.campaign_id, "attributes_changed": has_other_attributes}
                act = Act(tenant, client_id, "token_changed", name_of(token.id), before, after, details)
                await note(connection, acts, act, now)
        return token, state_of(token, now)

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


def _in_words(token: Token) -> dict[str, Any]:
    expires_at = token.content.expires_at
    return {"max_uses": token.terms.max_uses, "expires_at": None if expires_at is None else iso(expires_at)}


async def flush_quietly(tally: Tally) -> None:
    """Writes waiting counts, so that statistics include them. If that fails, statistics show the written ones."""
    try:
        await tally.flush()
    except Unavailable:
        return
