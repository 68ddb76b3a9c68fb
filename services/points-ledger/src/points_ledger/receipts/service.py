"""The use case: a signed receipt of a transaction that has ended."""

from typing import Final, NamedTuple

from pydantic import BaseModel
from shared.callers import Caller
from shared.calling import ServiceClient
from shared.db import Database
from shared.errors import Conflict
from shared.times import iso

from points_ledger.domain.transactions import State, Transaction, TransactionNotFound
from points_ledger.receipts import queries

#: The states in which points were held once and the end is final.
ENDED: Final = frozenset({State.CONFIRMED, State.ROLLED_BACK, State.EXPIRED})


class TransactionStillHeld(Conflict):
    code = "transaction_still_held"


class NoReceipt(Conflict):
    code = "no_receipt"


class Receipt(NamedTuple):
    """A transaction and its receipt, a compact JWS."""

    transaction: Transaction
    signed: str


class _SignedReceipt(BaseModel):
    receipt: str


class ReceiptService:
    """One in a process."""

    def __init__(self, database: Database, issuer: ServiceClient) -> None:
        self._database = database
        self._issuer = issuer

    async def receipt_of(self, caller: Caller, transaction_id: str) -> Receipt:
        """A receipt of how the vendor's transaction ended, signed now; it may be asked for again at any time.

        Raises:
            TransactionNotFound: also for another vendor's transaction.
            TransactionStillHeld: it has not ended yet.
            NoReceipt: it never held points.
            Unavailable: the database or the issuer cannot be asked.
        """
        found = await self._find(caller, transaction_id)
        state = found.state.value
        if found.state is State.HELD and found.expires_at is not None:
            raise TransactionStillHeld(
                "transaction still held", transactionid=transaction_id, state=state, expiresat=iso(found.expires_at)
            )
        if found.state not in ENDED or found.ended_at is None:
            raise NoReceipt("the transaction never held points", transactionid=transaction_id, state=state)
        facts = {
            "vendor_id": found.vendor_id,
            "transactionid": found.transaction_id,
            "userid": found.user_id,
            "state": state,
            "points_held": found.points,
            "points_deducted": found.deducted,
            "points_refunded": found.refunded,
            "created_at": iso(found.created_at),
            "ended_at": iso(found.ended_at),
        }
        answer = await self._issuer.ask(f"/internal/tenants/{found.tenant}/receipts", facts)
        return Receipt(found, self._issuer.understand(_SignedReceipt, answer).receipt)

    async def _find(self, caller: Caller, transaction_id: str) -> Transaction:
        key = (caller.tenant, caller.vendor, transaction_id)
        async with self._database.transaction() as connection:
            found = await queries.read_for_good(connection, *key)
        if found is not None and found[0].state is State.HELD and found[1].state is State.EXPIRED:
            # A confirm that was decided in time may be under way. When the writers are through, nobody can confirm.
            async with self._database.transaction() as connection:
                await queries.wait_for_writers(connection, caller.tenant, found[0].user_id)
                found = await queries.read_for_good(connection, *key)
        if found is None:
            raise TransactionNotFound("transaction not found", transactionid=transaction_id)
        return found[1]
