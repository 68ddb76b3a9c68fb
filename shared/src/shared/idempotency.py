"""`Idempotency-Key` (IETF httpapi draft): the same request within 24 h gets the first answer again.

The service stores the answer in a table of its own, in the same transaction as the effect, so that neither exists
without the other. It stores final refusals too, but not 429 and 5xx, after which a caller should retry.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final, TypeAlias

import orjson
import sqlalchemy as sa
from fastapi import Depends, Header, Request
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.chores import Chore
from shared.db import Database
from shared.errors import Conflict, Malformed, Refusal, TooManyRequests, Unavailable
from shared.problems import headers_of, problem_body, status_of
from shared.sealing import Sealer
from shared.whole_answers import send_whole

#: The connection that an act gets. Routes only pass it on to a use case, since they speak no SQL.
Transaction: TypeAlias = AsyncConnection

KEPT_FOR: Final = timedelta(hours=24)
#: So that forgetting never holds up those who ask.
FORGOTTEN_AT_ONCE: Final = 5000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request. Choose a new key for a new request.")


class MalformedKey(Malformed):
    code = "malformed_idempotency_key"

    def __init__(self) -> None:
        super().__init__("An Idempotency-Key has 1 to 255 visible ASCII characters.")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's key and a digest of what it was sent with."""

    key: str
    fingerprint: bytes
    #: The digest of the same request as earlier versions made it. Their answers are kept for a day.
    former: bytes | None = None

    @classmethod
    def of(
        cls, header: str, method: str, path: str, query: bytes, body: bytes, names: Mapping[str, str] | None = None
    ) -> "RequestKey":
        """The key of a request: equal for all spellings of its body.

        Args:
            header: the key as it was sent.
            names: spelling of a member → its name, where there is more than one.

        Raises:
            MalformedKey: not 1 to 255 visible ASCII characters.
        """
        fingerprint = fingerprint_of(method, path, query, meaning_of(body, names or {}))
        return cls(parse_key(header), fingerprint, fingerprint_of(method, path, query, body))

    def fits(self, kept: bytes) -> bool:
        """Whether the answer with this fingerprint was given to the same request."""
        return kept in (self.fingerprint, self.former)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is sent and stored."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    replayed: bool = False

    @classmethod
    def of(cls, status: int, body: Any, **headers: str) -> "Answer":
        """An answer with a JSON body; in `headers`, underscores stand for hyphens."""
        return cls(status, orjson.dumps(body), {name.replace("_", "-"): value for name, value in headers.items()})

    @classmethod
    def of_refusal(cls, refusal: Refusal) -> "Answer":
        """A refusal as a problem body, without a request id."""
        body = orjson.dumps(problem_body(refusal, None))
        return cls(status_of(refusal), body, headers_of(refusal), "application/problem+json")

    def to_bytes(self) -> bytes:
        """The stored form."""
        return orjson.dumps([self.status, self.headers, self.media_type, self.body.decode()])

    @classmethod
    def replay(cls, kept: bytes) -> "Answer":
        """A stored answer, marked as replayed."""
        status, headers, media_type, body = orjson.loads(kept)
        return cls(status, body.encode(), headers, media_type, replayed=True)

    def response(self) -> Response:
        """For a route of the framework."""
        headers = self.headers | ({"Idempotency-Replayed": "true"} if self.replayed else {})
        return Response(self.body, self.status, headers, self.media_type)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Sends the answer from a hot route, without a response object of the framework."""
        headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", self.media_type.encode("latin-1")),
        ]
        if self.headers:
            headers += [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
            ]
        if self.replayed:
            headers.append((b"idempotency-replayed", b"true"))
        await send_whole(scope, send, self.status, headers, self.body)


def parse_key(header: str) -> str:
    """The key, with or without the quotation marks of a structured field.

    Raises:
        MalformedKey: not 1 to 255 visible ASCII characters.
    """
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not _KEY.fullmatch(key):
        raise MalformedKey
    return key


def fingerprint_of(method: str, path: str, query: bytes, body: bytes) -> bytes:
    """A digest of everything in which two equal requests agree."""
    digest = hashlib.blake2b(digest_size=32)
    for part in (method.encode(), path.encode(), query, body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def meaning_of(body: bytes, names: Mapping[str, str]) -> bytes:
    """A body of JSON in one spelling: blanks, the order of members and their other names make no difference.

    Any other body is its own meaning.
    """
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if isinstance(said, dict):
        said = {names.get(name, name): value for name, value in said.items()}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


async def _request_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Repeat a call with the same key and get the first answer again.",
        ),
    ] = None,
) -> RequestKey | None:
    if idempotency_key is None:
        return None
    scope = request.scope
    # Not the path of the URL, in which `?` and `%3F` of a path read alike.
    body = await request.body()
    return RequestKey.of(idempotency_key, request.method, scope["path"], scope["query_string"], body)


#: For a route's parameter: `key: IdempotencyKey`.
IdempotencyKey = Annotated[RequestKey | None, Depends(_request_key)]


def define_answers_table(metadata: sa.MetaData) -> sa.Table:
    """The table in which a service stores its answers; each service has its own."""
    return sa.Table(
        "idempotent_answers",
        metadata,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False, comment="status, headers, body; sealed where secret"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Index("idempotent_answers_by_age", "created_at"),
    )


class Answers:
    """Stores and finds a service's answers.

    Args:
        sealer: for a service whose answers contain secrets or tokens.
    """

    def __init__(self, database: Database, table: sa.Table, sealer: Sealer | None = None) -> None:
        self._database = database
        self._table = table
        self._sealer = sealer

    async def recall(self, tenant: str, client_id: str, key: RequestKey | None) -> Answer | None:
        """The first answer, if there is one. Ask for it before you call other services.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
        """
        if key is None:
            return None
        async with self._database.transaction() as connection:
            return await self._find(connection, tenant, client_id, key)

    async def once(
        self,
        tenant: str,
        client_id: str,
        key: RequestKey | None,
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        """Runs `act` in a transaction and stores its answer there, or returns the first answer again.

        If two calls come at once with one key, the second waits for the first one's transaction and gets its answer. A
        refusal rolls back what `act` did and is then stored by itself.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            Refusal: what `act` raises.
        """
        if key is None:
            async with self._database.transaction() as connection:
                return await act(connection)
        try:
            async with self._database.transaction() as connection:
                # The row is inserted before the act, so that a second call waits here instead of acting too.
                if not await self._claim(connection, tenant, client_id, key):
                    found = await self._find(connection, tenant, client_id, key)
                    if found is None:
                        raise Unavailable(log="an answer vanished while it was read")
                    return found
                answer = await act(connection)
                await self._keep(connection, tenant, client_id, key, answer)
                return answer
        except (IdempotencyKeyReused, Unavailable, TooManyRequests):
            raise
        except Refusal as refusal:
            return await self._keep_refusal(tenant, client_id, key, refusal)

    def forgetting(self, every_seconds: float) -> Chore:
        """The chore that forgets what is older than 24 h."""
        return Chore("forget kept answers", self.forget_old, every_seconds=every_seconds, full_slice=FORGOTTEN_AT_ONCE)

    async def forget_old(self) -> int:
        """Deletes up to `FORGOTTEN_AT_ONCE` answers that are older than 24 h; returns how many."""
        table = self._table
        key = (table.c.tenant, table.c.client_id, table.c.key)
        old = sa.select(*key).where(table.c.created_at < sa.func.now() - KEPT_FOR).limit(FORGOTTEN_AT_ONCE)
        async with self._database.transaction() as connection:
            result = await connection.execute(sa.delete(table).where(sa.tuple_(*key).in_(old)))
            return result.rowcount

    async def _keep_refusal(self, tenant: str, client_id: str, key: RequestKey, refusal: Refusal) -> Answer:
        answer = Answer.of_refusal(refusal)
        async with self._database.transaction() as connection:
            if await self._claim(connection, tenant, client_id, key):
                await self._keep(connection, tenant, client_id, key, answer)
            else:
                found = await self._find(connection, tenant, client_id, key)
                if found is not None:
                    return found
        raise refusal

    async def _claim(self, connection: AsyncConnection, tenant: str, client_id: str, key: RequestKey) -> bool:
        table = self._table
        values = {
            "tenant": tenant,
            "client_id": client_id,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "answer": b"",
        }
        statement = postgresql.insert(table).values(**values)
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.tenant, table.c.client_id, table.c.key],
            set_={"fingerprint": key.fingerprint, "answer": b"", "created_at": statement.excluded.created_at},
            # The new row's time is now. A look at the clock would be refused here where tables are distributed.
            where=statement.excluded.created_at - table.c.created_at > KEPT_FOR,
        )
        return (await connection.execute(statement.returning(table.c.key))).first() is not None

    async def _keep(
        self, connection: AsyncConnection, tenant: str, client_id: str, key: RequestKey, answer: Answer
    ) -> None:
        kept = answer.to_bytes()
        if self._sealer is not None:
            kept = self._sealer.seal(kept, _context(tenant, client_id, key))
        await connection.execute(sa.update(self._table).where(*self._is(tenant, client_id, key)).values(answer=kept))

    async def _find(self, connection: AsyncConnection, tenant: str, client_id: str, key: RequestKey) -> Answer | None:
        row = (
            await connection.execute(
                sa.select(self._table.c.fingerprint, self._table.c.answer).where(
                    *self._is(tenant, client_id, key), self._table.c.created_at >= sa.func.now() - KEPT_FOR
                )
            )
        ).first()
        if row is None:
            return None
        if not key.fits(row.fingerprint):
            raise IdempotencyKeyReused
        kept = row.answer if self._sealer is None else self._sealer.open(row.answer, _context(tenant, client_id, key))
        return Answer.replay(kept)

    def _is(self, tenant: str, client_id: str, key: RequestKey) -> tuple[sa.ColumnElement[bool], ...]:
        columns = self._table.c
        return (columns.tenant == tenant, columns.client_id == client_id, columns.key == key.key)


def _context(tenant: str, client_id: str, key: RequestKey) -> str:
    # None of them has a line break in it, so that no two contexts read the same.
    return "\n".join(("idempotent answer", tenant, client_id, key.key))
