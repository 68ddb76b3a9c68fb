"""A client that asks too often is told when to come again; the others notice nothing of it."""

import pytest
from shared.client_limits import ClientLimit
from shared.errors import TooManyRequests
from shared.problems import headers_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_over_the_limit_is_refused_until_the_minute_is_over() -> None:
    clock = Clock()
    limit = ClientLimit(2, clock)
    limit.count("demo", "a")
    clock.now += 20
    limit.count("demo", "a")
    with pytest.raises(TooManyRequests) as refused:
        limit.count("demo", "a")
    headers = headers_of(refused.value)
    assert headers["Retry-After"] == "40"
    assert headers["RateLimit-Policy"] == '"client";q=2;w=60'
    assert headers["RateLimit"] == '"client";r=0;t=40'
    limit.count("demo", "b")
    limit.count("other", "a")
    clock.now += 40
    limit.count("demo", "a")


def test_without_a_number_there_is_no_limit() -> None:
    limit = ClientLimit(0)
    for _ in range(1000):
        limit.count("demo", "a")
