"""Counting: apart by kind, batched, kept through trouble, and what a crash can lose."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from shared.database_url import DatabaseUrl
from shared.dependencies import provided
from shared.errors import Unavailable
from token_service.app import create_app
from token_service.counting.kinds import kind_of
from token_service.keys.ring import KeyRing
from token_service.tokens import store as token_store
from token_service.tokens.domain import CallerKind, Token

from .campaign_house import House, flipped
from .conftest import MakeSettings

PERSON = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SAFELINKS = "Mozilla/5.0 (Windows NT 10.0) Microsoft Office/16.0 (Microsoft Outlook 16.0; Pro)"


@pytest.mark.parametrize(
    ("user_agent", "method", "purpose", "kind"),
    [
        (PERSON, "GET", None, CallerKind.PERSON),
        (PERSON, None, None, CallerKind.PERSON),
        (None, None, None, CallerKind.PERSON),
        (PERSON, "HEAD", None, CallerKind.SCANNER),
        (PERSON, "GET", "prefetch;prerender", CallerKind.SCANNER),
        (GOOGLEBOT, "GET", None, CallerKind.BOT),
        ("curl/8.5.0", "GET", None, CallerKind.BOT),
        ("python-requests/2.32", "GET", None, CallerKind.BOT),
        (SAFELINKS, "GET", None, CallerKind.SCANNER),
        ("WhatsApp/2.23.20.0", "GET", None, CallerKind.SCANNER),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "GET", None, CallerKind.SCANNER),
        ("Mozilla/5.0 (X11; CUBOT NOTE 20) AppleWebKit/537.36 Chrome/126 Mobile Safari/537.36", "GET", None, None),
    ],
)
def test_who_opened_a_link(
    user_agent: str | None, method: str | None, purpose: str | None, kind: CallerKind | None
) -> None:
    # A phone by the name of Cubot is carried by a person.
    assert kind_of(user_agent, method, purpose) is (kind or CallerKind.PERSON)


async def test_people_bots_and_scanners_are_counted_apart_and_all_of_them(house: House) -> None:
    for max_uses in (None, 100):
        token = await house.issue(max_uses=max_uses, campaign_id=f"kinds-{max_uses}")
        for agent, times in ((GOOGLEBOT, 3), (SAFELINKS, 2), (PERSON, 4)):
            for _ in range(times):
                assert (await house.verify(token, {"user_agent": agent, "method": "GET"})).status_code == 200
        statistics = await house.get(f"/v1/tokens/{token}/stats")
        assert statistics["verified"] == 9
        assert statistics["verified_by"] == {"person": 4, "bot": 3, "scanner": 2}
        assert statistics["distinct"] == 1
        campaign = await house.get(f"/v1/campaigns/kinds-{max_uses}/stats")
        assert campaign["verified_by"] == {"person": 4, "bot": 3, "scanner": 2}
        assert (campaign["issued"], campaign["verified"], campaign["distinct"]) == (1, 9, 1)


async def test_a_quota_is_used_up_by_everybody_alike(house: House) -> None:
    token = await house.issue(max_uses=2)
    for agent in (GOOGLEBOT, SAFELINKS):
        assert (await house.verify(token, {"user_agent": agent})).status_code == 200
    assert (await house.verify(token, {"user_agent": PERSON})).status_code == 409


async def test_distinct_counts_tokens_that_a_person_has_verified(house: House) -> None:
    tokens = [await house.issue(max_uses=max_uses) for max_uses in (None, None, 5, 5, 5)]
    for token in tokens[:4]:
        await house.verify(token)
        await house.tally.flush()
        await house.verify(token)
    await house.verify(tokens[4], {"user_agent": GOOGLEBOT})
    assert (await house.get("/v1/campaigns/spring/stats"))["distinct"] == 4


async def test_refusals_are_counted_by_reason(house: House) -> None:
    token = await house.issue(max_uses=1)
    for _ in range(3):
        await house.verify(token)
    revoked = await house.issue()
    await house.client.delete(f"/v1/tokens/{revoked}", headers=house.headers)
    await house.verify(revoked)
    await house.look(revoked)
    await house.verify(flipped(token, 1))
    await house.verify("nonsense")
    campaign = await house.get("/v1/campaigns/spring/stats")
    assert campaign["refused"] == {"token_used_up": 2, "token_revoked": 1}
    assert campaign["refused_without_campaign"] == {"invalid_signature": 1, "malformed_token": 1}
    assert (await house.get(f"/v1/tokens/{token}/stats"))["refused"] == {"token_used_up": 2}


async def test_an_expired_token_is_counted_for_its_campaign_although_nobody_read_its_row(house: House) -> None:
    token = await house.issue(duration=3600)
    key = await provided(house.app, KeyRing).signing_key(house.tenant)
    number, plain = await provided(house.app, KeyRing).read_token(house.tenant, bytes.fromhex(token))
    expired = key.mint(plain._replace(expiry_minute=1))
    with house.counted_connections() as connections:
        assert (await house.verify(expired)).json()["code"] == "token_expired"
        assert not connections
    assert number == key.number
    assert (await house.get("/v1/campaigns/spring/stats"))["refused"] == {"token_expired": 1}


async def test_statistics_over_time(house: House) -> None:
    token = await house.issue()
    await house.verify(token)
    await house.tally.flush()
    await house.execute(
        """
        INSERT INTO token_service.campaign_counts
        SELECT tenant, campaign_id, hour - make_interval(hours => back), event, detail, count
          FROM token_service.campaign_counts, unnest(ARRAY[1, 24, 48]) AS back WHERE tenant = :tenant
        """,
        tenant=house.tenant,
    )
    by_hour = await house.get("/v1/campaigns/spring/stats", bucket="hour")
    assert (by_hour["issued"], len(by_hour["buckets"])) == (4, 4)
    by_day = await house.get("/v1/campaigns/spring/stats", bucket="day")
    assert sum(bucket["verified"] for bucket in by_day["buckets"]) == 4
    assert all(bucket["start"].endswith("T00:00:00.000Z") for bucket in by_day["buckets"])
    starts = [bucket["start"] for bucket in by_hour["buckets"]]
    assert starts == sorted(starts)
    since = await house.get("/v1/campaigns/spring/stats", bucket="hour", since=starts[2])
    assert [bucket["start"] for bucket in since["buckets"]] == starts[2:]


async def test_counts_wait_while_the_database_takes_none_and_are_written_later(house: House) -> None:
    token = await house.issue()
    url = DatabaseUrl(house.app.state.settings.database_url.get_secret_value())
    locking, ending = await url.connect(), await url.connect()
    try:
        async with locking.transaction():
            await locking.execute("LOCK TABLE token_service.campaign_counts IN ACCESS EXCLUSIVE MODE")
            for _ in range(5):
                await house.verify(token)
            flushing = asyncio.create_task(house.tally.flush())
            # The service flushes by itself as well, so that more than one of its connections may wait here.
            while not flushing.done():
                await ending.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND query LIKE '%campaign_counts%'"
                )
            with pytest.raises(Unavailable):
                await flushing
    finally:
        await locking.close()
        await ending.close()
    await house.verify(token)
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 6


async def test_many_counts_are_written_a_few_at_a_time_and_those_behind_a_failure_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered between two pieces, and what was written is not written again."""
    tokens = [await house.issue() for _ in range(7)]
    used_up = [await house.issue(max_uses=1) for _ in range(5)]
    await house.tally.flush()
    monkeypatch.setattr("token_service.counting.tally._TOGETHER", 2)
    written: list[int] = []
    write = token_store.write_uses

    async def fails_at_the_third(connection: Any, tokens: Sequence[Token], counts: Any, used_up: Any) -> None:
        if counts:
            # A use of a token with a quota.
            return await write(connection, tokens, counts, used_up)
        written.append(len(tokens))
        if len(written) == 3:
            raise asyncpg.DeadlockDetectedError("made up")
        return await write(connection, tokens, counts, used_up)

    monkeypatch.setattr(token_store, "write_uses", fails_at_the_third)
    for token in [*tokens, *used_up, *used_up, *used_up]:
        await house.verify(token)
    # The service flushes by itself as well.
    while len(written) < 3:
        with suppress(Unavailable):
            await house.tally.flush()
    await house.tally.flush()
    assert max(written) <= 2
    for token in tokens:
        assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 1
    campaign = await house.get("/v1/campaigns/spring/stats")
    assert (campaign["verified"], campaign["distinct"], campaign["refused"]) == (12, 12, {"token_used_up": 10})
    for token in used_up:
        assert (await house.get(f"/v1/tokens/{token}/stats"))["refused"] == {"token_used_up": 2}


async def test_a_write_whose_caller_is_cancelled_is_written_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the answer to COMMIT is on its way."""
    token = await house.issue()
    await house.tally.flush()
    database = house.tally._database
    transaction, committed, answer = database.raw_transaction, asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(*which: Any) -> AsyncIterator[Any]:
        async with transaction(*which) as connection:
            yield connection
        committed.set()
        await answer.wait()

    monkeypatch.setattr(database, "raw_transaction", slow)
    await house.verify(token)
    flushing = asyncio.create_task(house.tally.flush())
    await committed.wait()
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    answer.set()
    await house.tally.flush()
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 1


async def test_nothing_is_lost_when_the_service_ends(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str, house: House
) -> None:
    app = create_app(make_settings(count_flush_seconds=0.9), register=register)
    async with running(app) as client:
        other = House(app, client, campaign, tenant)
        token = await other.issue()
        await asyncio.gather(*(other.verify(token) for _ in range(150)))
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 150


async def test_two_processes_add_up(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str, house: House
) -> None:
    token = await house.issue()
    app = create_app(make_settings(), register=register)
    async with running(app) as client:
        other = House(app, client, campaign, tenant)
        await asyncio.gather(*(each.verify(token) for each in (house, other) for _ in range(50)))
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 100
    assert (await house.get("/v1/campaigns/spring/stats"))["distinct"] == 1


async def test_too_many_waiting_counts_are_refused_rather_than_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await house.issue()
    await house.tally.flush()
    monkeypatch.setattr("token_service.counting.tally._MOST_WAITING", 0)
    answer = await house.verify(token)
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert "retry-after" in answer.headers


def test_an_hour_begins_at_its_beginning() -> None:
    from token_service.counting.store import hour_of

    assert hour_of(datetime(2026, 3, 4, 5, 6, 7, 8, UTC)) == datetime(2026, 3, 4, 5, tzinfo=UTC)
