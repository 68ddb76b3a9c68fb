"""One clock decides whether a token is good: the database's, whatever date the process has."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from unittest import mock

import pytest
from shared.dependencies import provided
from token_service.clock import DatabaseClock
from token_service.keys.ring import KeyRing

from .campaign_house import House, refusal

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Tomorrow(datetime):
    """The date of a process that is a day ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=1)


class Yesterday(datetime):
    """The date of a process that is a day behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(days=1)


@pytest.fixture(params=[Tomorrow, Yesterday])
def wrong_date(request: pytest.FixtureRequest) -> Iterator[type[datetime]]:
    """All of the service's code takes its date from a clock gone wrong."""
    modules = [module for name, module in sys.modules.items() if name.startswith("token_service.")]
    with ExitStack() as stack:
        for module in modules:
            if getattr(module, "datetime", None) is datetime:
                stack.enter_context(mock.patch.object(module, "datetime", request.param))
        yield request.param


def test_the_clock_goes_on_from_what_the_database_said_last() -> None:
    seconds = [100.0]
    clock = DatabaseClock(lambda: seconds[0])
    assert clock.now() is None
    clock.hear(NOON)
    seconds[0] = 130.0
    assert clock.now() == NOON + timedelta(seconds=30)
    clock.hear(NOON)
    assert clock.now() == NOON


@pytest.mark.usefixtures("wrong_date")
async def test_a_process_with_a_wrong_date_refuses_no_good_token_and_passes_no_expired_one(house: House) -> None:
    good, expired = await house.issue(), await house.issue()
    assert (await house.verify(good)).status_code == 200
    with mock.patch.object(DatabaseClock, "now", return_value=datetime.now(UTC) + timedelta(hours=2)):
        assert refusal(await house.verify(expired)) == (403, "token_expired")


@pytest.mark.usefixtures("wrong_date")
async def test_a_new_key_signs_by_the_databases_time(house: House) -> None:
    """A process that is ahead would sign with a key that others do not know yet."""
    await house.issue()
    ring: KeyRing = provided(house.app, KeyRing)
    await ring.rotate(house.tenant)
    assert (await ring.signing_key(house.tenant)).number == 1
    await ring.rotate(house.tenant, ahead=timedelta(0))
    assert (await ring.signing_key(house.tenant)).number == 3
