"""A vendor's list against the ledger's: each kind of finding, in every form of list, in constant memory."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from points_ledger.domain.transactions import State
from points_ledger.reconciliations.domain import Kind, Stand, judge
from shared.times import iso

from .parties import Platform, Vendor
from .test_ledger_eai import bring_to
from .vendor_lists import NDJSON, NOTHING, PATH, STATES, all_states, ndjson, post, reconcile


async def test_books_that_agree_have_no_findings_but_open_holds(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    lines = [(state, state, points) for state, points in STATES.items()]
    findings, summary = await reconcile(shop, ndjson(*reversed(lines)))
    stand = {"state": "held", "points": 40}
    assert findings == [{"finding": "still_held", "transactionid": "held", "yours": stand, "ours": stand}]
    assert summary == NOTHING | {"yours": 6, "ours": 6, "agreed": 5, "still_held": 1}


async def test_each_kind_of_difference_is_found(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    findings, summary = await reconcile(
        shop,
        ndjson(
            ("made-up", "confirmed", 7),
            ("confirmed", "confirmed", 39),
            ("rolled_back", "confirmed", 40),
            ("held", "confirmed", 40),
            ("expired", "expired", 1),
            ("rejected", "rejected", 0),
        ),
    )

    def stand(state: str, points: int) -> dict[str, Any]:
        return {"state": state, "points": points}

    assert findings == [
        {"finding": "only_yours", "transactionid": "made-up", "yours": stand("confirmed", 7)},
        {
            "finding": "points_differ",
            "transactionid": "confirmed",
            "yours": stand("confirmed", 39),
            "ours": stand("confirmed", 40),
        },
        {
            "finding": "state_differs",
            "transactionid": "rolled_back",
            "yours": stand("confirmed", 40),
            "ours": stand("rolled_back", 0),
        },
        {
            "finding": "still_held",
            "transactionid": "held",
            "yours": stand("confirmed", 40),
            "ours": stand("held", 40),
        },
        {
            "finding": "points_differ",
            "transactionid": "expired",
            "yours": stand("expired", 1),
            "ours": stand("expired", 0),
        },
        {"finding": "only_ours", "transactionid": "cancelled", "ours": stand("cancelled", 0)},
    ]
    assert summary == {
        "yours": 6,
        "ours": 6,
        "agreed": 1,
        "only_yours": 1,
        "only_ours": 1,
        "state_differs": 1,
        "points_differ": 2,
        "still_held": 1,
        "malformed": 0,
    }


@pytest.mark.parametrize("yours", State)
@pytest.mark.parametrize("ours", [*State, None])
def test_two_sides_agree_only_in_state_and_points(yours: State, ours: State | None) -> None:
    found = judge(Stand(yours, 5), None if ours is None else Stand(ours, 5))
    if ours is None:
        assert found is Kind.ONLY_YOURS
    elif ours is State.HELD:
        assert found is Kind.STILL_HELD
    else:
        assert found is (None if yours is ours else Kind.STATE_DIFFERS)
        assert judge(Stand(yours, 5), Stand(ours, 6)) is (Kind.POINTS_DIFFER if yours is ours else Kind.STATE_DIFFERS)


async def test_points_of_a_confirmed_one_are_those_deducted_whatever_was_held_or_refunded(
    shop: Vendor, platform: Platform
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "order-1", 40)
    await shop.confirm(user, "order-1", 30)
    await shop.refund(user, "order-1", "return-1", 10)
    assert await reconcile(shop, ndjson(("order-1", "confirmed", 30))) == (
        [],
        NOTHING | {"yours": 1, "ours": 1, "agreed": 1},
    )


async def test_only_ours_looks_at_the_range_and_everything_else_does_not(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(100)
    noon = datetime(2026, 11, 10, 12, tzinfo=UTC)
    for hours, name in enumerate(("before", "first", "last", "after")):
        await bring_to("confirmed", shop, user, rows, tenant, name) if hours == 0 else await shop.commit(user, name, 5)
        await rows.execute(
            "UPDATE points_ledger.transactions SET created_at = $3 WHERE tenant = $1 AND transaction_id = $2",
            tenant, name, noon + timedelta(hours=hours),
        )  # fmt: skip
        if hours:
            await shop.confirm(user, name)
    day = {"since": iso(noon + timedelta(hours=1)), "until": iso(noon + timedelta(hours=3))}
    findings, summary = await reconcile(shop, ndjson(("before", "confirmed", 1)), **day)
    assert [(one["finding"], one["transactionid"]) for one in findings] == [
        ("points_differ", "before"),
        ("only_ours", "first"),
        ("only_ours", "last"),
    ]
    assert summary == NOTHING | {"yours": 1, "ours": 3, "points_differ": 1, "only_ours": 2}
    # By default the last 31 days.
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = clock_timestamp() - interval '30 days 23 hours'"
        " WHERE tenant = $1 AND transaction_id = 'last'",
        tenant,
    )
    await rows.execute(
        "UPDATE points_ledger.transactions SET created_at = clock_timestamp() - interval '31 days 1 hour'"
        " WHERE tenant = $1 AND transaction_id <> 'last'",
        tenant,
    )
    findings, _ = await reconcile(shop, b"")
    assert [one["transactionid"] for one in findings] == ["last"]
    findings, _ = await reconcile(shop, b"", since="2026-01-01T00:00:00Z")
    assert len(findings) == 4
    for backwards in (day["until"], day["since"]):
        answer = await post(shop, b"", since=backwards, until=day["since"])
        assert (answer.status_code, answer.json()["code"]) == (400, "range_backwards")


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00Z", "0001-01-31T23:59:59.999Z", "0001-02-01T00:00:00Z"])
async def test_a_range_before_the_first_transaction_misses_nothing(until: str, shop: Vendor) -> None:
    """Also where the 31 days before it begin before all calendars."""
    findings, summary = await reconcile(shop, b"", until=until)
    assert (findings, summary["ours"]) == ([], 0)


async def test_what_is_created_after_the_list_began_is_not_missed_in_it(shop: Vendor, platform: Platform) -> None:
    """Also where `until` lies in the future: the vendor wrote its list before."""
    user = await platform.user_with(100)
    await shop.commit(user, "known", 5)

    async def body() -> AsyncIterator[bytes]:
        yield ndjson(("known", "held", 5))
        # The comparison has begun when the next line is asked for.
        await shop.commit(user, "late", 5)
        yield ndjson(("other", "held", 5))

    answer = await shop.client.post(
        PATH,
        params={"until": "2099-01-01T00:00:00Z"},
        content=body(),
        headers={**shop.headers, "Content-Type": NDJSON},
    )
    named = [json.loads(line).get("transactionid") for line in answer.content.splitlines()]
    assert "late" not in named[:-1]


async def test_a_transaction_that_is_named_twice_counts_once(
    shop: Vendor, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    await all_states(shop, platform, rows, tenant)
    filling = [(f"x-{number}", "confirmed", 1) for number in range(2500)]
    double = ("confirmed", "confirmed", 40)
    findings, summary = await reconcile(shop, ndjson(double, double, *filling, double))
    assert [one for one in findings if one["finding"] == "malformed"] == [
        {
            "finding": "malformed",
            "transactionid": "confirmed",
            "line": line,
            "detail": "The transaction stood in line 1 already.",
        }
        for line in (2, 2503)
    ]
    assert (summary["yours"], summary["agreed"], summary["only_yours"], summary["malformed"]) == (2503, 1, 2500, 2)
