"""Prometheus reads from it what its own histogram would say."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from shared.request_times import RequestTimes

BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OBSERVED = (
    ("GET", "/readyz", 200, 0.0005),
    ("POST", "/eai/v1/points?commit", 200, 0.002),
    ("POST", "/eai/v1/points?commit", 200, 0.0021),
    ("POST", "/eai/v1/points?commit", 200, 10.0),
    ("POST", "/eai/v1/points?commit", 503, 11.0),
)


def lines_of(registry: CollectorRegistry) -> set[str]:
    return {line for line in generate_latest(registry).decode().splitlines() if "_created" not in line}


@pytest.mark.parametrize("observed", [(), OBSERVED[:1], OBSERVED])
def test_it_says_what_the_librarys_histogram_says(observed: tuple[tuple[str, str, int, float], ...]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    times = RequestTimes()
    ours.register(times)
    histogram = Histogram(
        "http_request_seconds",
        "Time from the first byte of a request to the last of its answer.",
        ["method", "route", "status"],
        buckets=BOUNDS,
        registry=theirs,
    )
    for method, route, status, seconds in observed:
        times.observe(method, route, status, seconds)
        histogram.labels(method, route, str(status)).observe(seconds)
    assert lines_of(ours) == lines_of(theirs)
