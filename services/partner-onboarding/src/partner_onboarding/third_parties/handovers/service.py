"""A new secret can be seen again for some minutes by the operator who made it, until it is handed over."""

import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from shared.brief_notes import BriefNotes
from shared.errors import Gone

KEPT_FOR: Final = timedelta(minutes=10)


class HandoverOver(Gone):
    """The secret was handed over, its minutes are over, or another operator made it."""

    code = "handover_over"


@dataclass(frozen=True, slots=True)
class Handover:
    """What is handed over, by the names of the fields, and until when it can be seen (seconds since the epoch)."""

    client_id: str
    name: str
    values: dict[str, str]
    until: int

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.until, UTC)


class Handovers:
    """Keeps what is being handed over, sealed."""

    def __init__(self, notes: BriefNotes) -> None:
        self._notes = notes

    async def keep(self, tenant: str, operator: str, *, client_id: str, name: str, values: dict[str, str]) -> str:
        """Keeps the values for their operator; the id of the handover."""
        handover_id = secrets.token_urlsafe(16)
        until = int((datetime.now(UTC) + self._notes.kept_for).timestamp())
        key = _key(operator, handover_id)
        await self._notes.begin(tenant, key)
        await self._notes.write(tenant, key, orjson.dumps(asdict(Handover(client_id, name, values, until))))
        return handover_id

    async def find(self, tenant: str, operator: str, handover_id: str) -> Handover:
        """Raises HandoverOver."""
        note = await self._notes.read(tenant, _key(operator, handover_id))
        if not note:
            raise HandoverOver("This secret cannot be seen any more. Make a new one if it was not kept.")
        return Handover(**orjson.loads(note))

    async def end(self, tenant: str, operator: str, handover_id: str) -> None:
        """The secret was handed over; again is fine."""
        await self._notes.remove(tenant, _key(operator, handover_id))

    async def forget_old(self) -> int:
        return await self._notes.forget_old()


def _key(operator: str, handover_id: str) -> str:
    return f"{operator}\n{handover_id}"
