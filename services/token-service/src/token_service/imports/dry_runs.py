"""What would become of a list, without anything becoming of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from token_service.imports.references import Reference, death_of, problem_of, read_references, reference_of
from token_service.imports.writing import Outcome, RowWriters, never_valid
from token_service.tokens import store as token_store
from token_service.tokens.domain import Token, TokenId
from token_service.tokens.terms import Order


class DryRun:
    """Says what would become of rows of one tenant: a row that would be good has an expiry and no token.

    Args:
        renew: whether a row whose reference has a dead token would get a new one.
    """

    def __init__(self, parts: RowWriters, tenant: str, *, renew: bool = False) -> None:
        self._database = parts.database
        self._tenant = tenant
        self._zone = parts.zones.of(tenant)
        self._renew = renew

    async def write(self, orders: Sequence[Order]) -> list[Outcome]:
        """What would become of each. Rows of one list that have the same reference are not held against each other.

        Raises:
            Unavailable: the database cannot be asked.
        """
        references = {reference_of(order) for order in orders if order.reference is not None}
        async with self._database.driver_transaction() as connection:
            now = await token_store.read_clock(connection)
            kept = await read_references(connection, self._tenant, references) if references else {}
        return [self._outcome(order, kept, now) for order in orders]

    def _outcome(self, order: Order, kept: Mapping[Reference, tuple[TokenId, Token | None]], now: datetime) -> Outcome:
        try:
            content = order.content(now, self._zone)
        except ValueError as error:
            return never_valid(error)
        if order.reference is None or reference_of(order) not in kept:
            return "", content.expires_at
        _, token = kept[reference_of(order)]
        if self._renew and death_of(token, now) is not None:
            return "", content.expires_at
        problem = problem_of(token, order, now, self._zone)
        return problem or ("", None if token is None else token.content.expires_at)
