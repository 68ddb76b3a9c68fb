"""`Idempotency-Key`, on a real PostgreSQL: the effect once, the first answer to everybody."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import orjson
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request, Response
from platform_testing.serving import running
from shared.database_failures import OutcomeUnknown
from shared.db import Database
from shared.errors import Conflict, Gone, Malformed, NotFound, Refusal, TooManyRequests, Unavailable
from shared.idempotency import (
    Answer,
    Answers,
    IdempotencyKey,
    IdempotencyKeyReused,
    RequestKey,
    define_answers_table,
    fingerprint_of,
    parse_key,
)
from shared.sealing import CannotOpen, Sealer
from shared.service_app import create_service_app
from shared.settings import ServiceSettings
from sqlalchemy.ext.asyncio import AsyncConnection

metadata = sa.MetaData()
answers_table = define_answers_table(metadata)
effects = sa.Table(
    "effects", metadata, sa.Column("tenant", sa.Text, nullable=False), sa.Column("what", sa.Text, nullable=False)
)

Act = Callable[[AsyncConnection], Awaitable[Answer]]


@pytest.fixture(scope="session")
async def database(shared_url: str) -> AsyncIterator[Database]:
    # As many as call at once, so that nobody is refused for waiting for one.
    database = Database(shared_url, pool_size=50)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
def answers(database: Database) -> Answers:
    return Answers(database, answers_table)


def key(name: str = "key-1", body: bytes = b"{}") -> RequestKey:
    return RequestKey(name, fingerprint_of("POST", "/things", b"", body))


def acting(tenant: str, answer: Answer | Exception, what: str = "done") -> Act:
    """Leaves an effect, then answers or raises."""

    async def act(connection: AsyncConnection) -> Answer:
        await connection.execute(sa.insert(effects).values(tenant=tenant, what=what))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return act


async def must_not_act(_connection: AsyncConnection) -> Answer:
    raise AssertionError("acted again")


async def effects_of(database: Database, tenant: str) -> int:
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(sa.func.count()).where(effects.c.tenant == tenant)) or 0


async def make_older(database: Database, tenant: str, interval: str) -> None:
    async with database.transaction() as connection:
        aged = answers_table.c.created_at - sa.text(f"interval '{interval}'")
        await connection.execute(
            sa.update(answers_table).where(answers_table.c.tenant == tenant).values(created_at=aged)
        )


CREATED = Answer.of(201, {"id": "ü", "n": 7}, Location="/things/1", Cache_Control="no-store")


async def test_the_act_runs_once_and_its_answer_is_given_again(
    answers: Answers, database: Database, tenant: str
) -> None:
    first = await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    assert first == CREATED
    assert not first.replayed
    for _ in range(3):
        again = await answers.once(tenant, "c", key(), must_not_act)
        assert again.replayed
        assert (again.status, again.body, again.headers) == (CREATED.status, CREATED.body, CREATED.headers)
        response = again.response()
        assert response.headers["Idempotency-Replayed"] == "true"
        assert response.headers["Location"] == "/things/1"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.media_type == "application/json"
    assert "Idempotency-Replayed" not in first.response().headers
    assert await effects_of(database, tenant) == 1


async def test_fifty_at_once_act_once_and_all_get_the_one_answer(
    answers: Answers, database: Database, tenant: str
) -> None:
    async def act(connection: AsyncConnection) -> Answer:
        await acting(tenant, CREATED)(connection)
        return Answer.of(201, {"drawn": secrets.token_hex(8)})

    given = await asyncio.gather(*(answers.once(tenant, "c", key(), act) for _ in range(50)))
    assert await effects_of(database, tenant) == 1
    assert len({answer.body for answer in given}) == 1
    assert sorted(answer.replayed for answer in given) == [False] + [True] * 49


async def test_without_a_key_every_call_acts(answers: Answers, database: Database, tenant: str) -> None:
    for _ in range(3):
        assert not (await answers.once(tenant, "c", None, acting(tenant, CREATED))).replayed
    assert await effects_of(database, tenant) == 3
    assert await answers.recall(tenant, "c", None) is None


async def test_the_same_key_with_another_request_is_a_conflict(
    answers: Answers, database: Database, tenant: str
) -> None:
    await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    with pytest.raises(IdempotencyKeyReused) as refused:
        await answers.once(tenant, "c", key(body=b'{"n":8}'), must_not_act)
    assert isinstance(refused.value, Conflict)
    assert refused.value.stable_code == "idempotency_key_reused"
    with pytest.raises(IdempotencyKeyReused):
        await answers.recall(tenant, "c", key(body=b'{"n":8}'))
    # And the first answer stays what it was.
    assert (await answers.once(tenant, "c", key(), must_not_act)).body == CREATED.body


def test_a_request_is_its_method_path_query_and_body() -> None:
    same = ("POST", "/a", b"x=1", b"body")
    variants = [
        ("PUT", "/a", b"x=1", b"body"),
        ("POST", "/b", b"x=1", b"body"),
        ("POST", "/a", b"x=2", b"body"),
        ("POST", "/a", b"x=1", b"bodY"),
        # Where one part ends and the next begins counts too.
        ("POST", "/ax", b"=1", b"body"),
        ("POST", "/a", b"x=1b", b"ody"),
        ("POST", "/a", b"", b"x=1body"),
    ]
    assert fingerprint_of(*same) == fingerprint_of(*same)
    assert len({fingerprint_of(*variant) for variant in [same, *variants]}) == len(variants) + 1


async def test_keys_of_different_clients_and_tenants_are_different(
    answers: Answers, database: Database, tenant: str
) -> None:
    for owner in ((tenant, "c"), (tenant, "d"), (f"{tenant}-x", "c")):
        assert not (await answers.once(*owner, key(), acting(tenant, CREATED))).replayed
    assert await effects_of(database, tenant) == 3


# ——— refusals ———


class OutOfStock(Conflict):
    code = "out_of_stock"


@pytest.mark.parametrize(
    "refusal",
    [
        OutOfStock("There is none left.", state="rejected", left=0, log="secret of the log"),
        Malformed("No."),
        NotFound("Nothing there."),
        Gone("Was there."),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_a_final_refusal_is_given_again_and_leaves_nothing_behind(
    answers: Answers, database: Database, tenant: str, refusal: Refusal
) -> None:
    with pytest.raises(type(refusal)) as refused:
        await answers.once(tenant, "c", key(), acting(tenant, refusal))
    assert refused.value is refusal
    again = await answers.once(tenant, "c", key(), must_not_act)
    assert again.replayed
    body = orjson.loads(again.body)
    assert (body["code"], body["detail"]) == (refusal.stable_code, refusal.message)
    assert body.items() >= refusal.members.items()
    assert "request_id" not in body
    assert b"secret of the log" not in again.body
    assert again.response().media_type == "application/problem+json"
    assert await effects_of(database, tenant) == 0


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable(),
        OutcomeUnknown(),
        TooManyRequests("Slowly.", retry_after_seconds=3),
        RuntimeError("a bug"),
        sa.exc.NoSuchTableError("a bug in a statement"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_what_is_not_final_is_not_kept_and_the_act_runs_again(
    answers: Answers, database: Database, tenant: str, trouble: Exception
) -> None:
    for _ in range(2):
        with pytest.raises(type(trouble)):
            await answers.once(tenant, "c", key(), acting(tenant, trouble))
    assert await answers.recall(tenant, "c", key()) is None
    assert not (await answers.once(tenant, "c", key(), acting(tenant, CREATED))).replayed
    assert await effects_of(database, tenant) == 1


async def test_a_refusal_of_many_at_once_is_one_refusal(answers: Answers, database: Database, tenant: str) -> None:
    outcomes = await asyncio.gather(
        *(answers.once(tenant, "c", key(), acting(tenant, OutOfStock("None left."))) for _ in range(20)),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, OutOfStock | Answer) for outcome in outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Answer):
            assert outcome.replayed
            assert orjson.loads(outcome.body)["code"] == "out_of_stock"
    assert await effects_of(database, tenant) == 0


async def test_an_answer_and_its_effect_are_kept_together_or_not_at_all(
    answers: Answers, database: Database, tenant: str
) -> None:
    """The act has answered; the answer cannot be kept: so nothing has happened."""
    with pytest.raises(UnicodeDecodeError):
        await answers.once(tenant, "c", key(), acting(tenant, Answer(200, b"\xff")))
    assert await effects_of(database, tenant) == 0
    assert await answers.recall(tenant, "c", key()) is None


# ——— time ———


async def test_an_answer_is_kept_for_a_day(answers: Answers, database: Database, tenant: str) -> None:
    await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    await make_older(database, tenant, "23 hours 59 minutes")
    assert (await answers.once(tenant, "c", key(), must_not_act)).replayed
    await make_older(database, tenant, "2 minutes")
    assert await answers.recall(tenant, "c", key()) is None
    assert not (await answers.once(tenant, "c", key(), acting(tenant, CREATED))).replayed
    assert (await answers.once(tenant, "c", key(), must_not_act)).replayed
    assert await effects_of(database, tenant) == 2


async def test_after_a_day_the_key_may_stand_for_another_request(
    answers: Answers, database: Database, tenant: str
) -> None:
    await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    await make_older(database, tenant, "25 hours")
    other = key(body=b"other")
    assert not (await answers.once(tenant, "c", other, acting(tenant, CREATED))).replayed
    assert (await answers.once(tenant, "c", other, must_not_act)).replayed
    with pytest.raises(IdempotencyKeyReused):
        await answers.once(tenant, "c", key(), must_not_act)


async def test_many_at_once_after_a_day_act_once_more(answers: Answers, database: Database, tenant: str) -> None:
    await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    await make_older(database, tenant, "25 hours")
    given = await asyncio.gather(*(answers.once(tenant, "c", key(), acting(tenant, CREATED)) for _ in range(20)))
    assert sum(not answer.replayed for answer in given) == 1
    assert await effects_of(database, tenant) == 2


async def test_old_answers_are_deleted_slice_by_slice(
    answers: Answers, database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await answers.forget_old()
    for number in range(5):
        await answers.once(tenant, f"c-{number}", key(), acting(tenant, CREATED))
    await make_older(database, tenant, "25 hours")
    monkeypatch.setattr("shared.idempotency.FORGOTTEN_AT_ONCE", 2)
    assert [await answers.forget_old() for _ in range(4)] == [2, 2, 1, 0]


async def test_what_is_old_is_deleted_and_nothing_else(answers: Answers, database: Database, tenant: str) -> None:
    await answers.forget_old()
    await answers.once(tenant, "old", key(), acting(tenant, CREATED))
    await make_older(database, tenant, "25 hours")
    await answers.once(tenant, "new", key(), acting(tenant, CREATED))
    assert await answers.forget_old() == 1
    assert await answers.forget_old() == 0
    assert await answers.recall(tenant, "new", key()) is not None


async def test_recalling_gives_the_first_answer_and_does_nothing(
    answers: Answers, database: Database, tenant: str
) -> None:
    assert await answers.recall(tenant, "c", key()) is None
    assert await answers.recall(tenant, "c", key()) is None
    await answers.once(tenant, "c", key(), acting(tenant, CREATED))
    found = await answers.recall(tenant, "c", key())
    assert found is not None
    assert found.replayed
    assert found.body == CREATED.body


# ——— sealed ———


async def kept(database: Database, tenant: str) -> bytes:
    async with database.transaction() as connection:
        found = await connection.scalar(sa.select(answers_table.c.answer).where(answers_table.c.tenant == tenant))
    return bytes(found or b"")


async def test_a_sealed_answer_cannot_be_read_in_the_table(database: Database, tenant: str) -> None:
    secret = "shown-once-" + secrets.token_hex(16)
    answer = Answer.of(201, {"client_secret": secret})
    await Answers(database, answers_table).once(tenant, "plain", key(), acting(tenant, answer))
    assert secret.encode() in await kept(database, tenant)

    sealing, owner = Answers(database, answers_table, Sealer({1: os.urandom(32)})), f"{tenant}-s"
    await sealing.once(owner, "c", key(), acting(tenant, answer))
    assert secret.encode() not in await kept(database, owner)
    assert b"client_secret" not in await kept(database, owner)
    assert (await sealing.once(owner, "c", key(), must_not_act)).body == answer.body


async def test_a_sealed_answer_copied_to_another_row_does_not_open(database: Database, tenant: str) -> None:
    sealing = Answers(database, answers_table, Sealer({1: os.urandom(32)}))
    await sealing.once(tenant, "a/b", key("c"), acting(tenant, CREATED))
    for client_id, name in (("a", "b/c"), ("thief", "c"), ("a/b", "d")):
        async with database.transaction() as connection:
            await connection.execute(
                sa.update(answers_table).where(answers_table.c.tenant == tenant).values(client_id=client_id, key=name)
            )
        with pytest.raises(CannotOpen):
            await sealing.recall(tenant, client_id, key(name))


# ——— the header ———


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"', '"'),
        ('a"b', 'a"b'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ("!~", "!~"),
    ],
)
def test_a_key_is_taken_with_or_without_quotation_marks(header: str, parsed: str) -> None:
    assert parse_key(header) == parsed


@pytest.mark.parametrize("header", ["", '""', " ", "a b", "a\tb", "a\0", "é", "x" * 256, '" "', "a\n", "\x7f"])
def test_what_is_no_key_is_malformed(header: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_key(header)
    assert refused.value.stable_code == "malformed_idempotency_key"


@pytest.fixture
def app(settings: ServiceSettings, answers: Answers, tenant: str, lifespan: Any) -> FastAPI:
    app = create_service_app(settings, title="things", description="", lifespan=lifespan, readiness={})

    async def owner(request: Request) -> str:
        return request.headers["X-Client"]

    @app.post("/things")
    @app.post("/things/{name}", name="make_named")
    async def make(
        request: Request, idempotency_key: IdempotencyKey, client: Annotated[str, Depends(owner)], x: int = 0
    ) -> Response:
        number = (await request.json())["n"]
        refusal = OutOfStock("None left.") if number < 0 else Answer.of(201, {"n": number})
        return (await answers.once(tenant, client, idempotency_key, acting(tenant, refusal))).response()

    return app


async def test_over_http_the_second_answer_is_the_first(app: FastAPI, database: Database, tenant: str) -> None:
    async with running(app) as client:

        async def post(
            body: object, idempotency_key: str | None, path: str = "/things"
        ) -> tuple[int, bytes, str | None]:
            headers = {"X-Client": "c"} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
            answer = await client.post(path, json=body, headers=headers)
            return answer.status_code, answer.content, answer.headers.get("Idempotency-Replayed")

        assert await post({"n": 1}, "k") == (201, b'{"n":1}', None)
        assert await post({"n": 1}, "k") == (201, b'{"n":1}', "true")
        assert await post({"n": 1}, '"k"') == (201, b'{"n":1}', "true")
        assert (await post({"n": 2}, "k"))[0] == 409
        assert (await post({"n": 1}, "k", "/things?x=1"))[0] == 409
        assert (await post({"n": -1}, "refused"))[::2] == (409, None)
        assert (await post({"n": -1}, "refused"))[::2] == (409, "true")
        assert (await post({"n": 1}, "two words"))[0] == 400
        assert await effects_of(database, tenant) == 1
        # A name with `?` in it, and one with `%3F`.
        assert (await post({"n": 1}, "named", "/things/a%3Fb"))[0] == 201
        assert (await post({"n": 1}, "named", "/things/a%3Fb"))[::2] == (201, "true")
        assert (await post({"n": 1}, "named", "/things/a%253Fb"))[0] == 409
