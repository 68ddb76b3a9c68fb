"""Whether a request comes from our own pages, as only the browser can say."""

import pytest
from shared.web.cross_site import OPAQUE, foreign_origin

OWN = frozenset({"https://points.example"})


@pytest.mark.parametrize(
    ("site", "origin", "referer"),
    [
        (None, None, None),
        ("same-origin", None, None),
        ("same-origin", "null", None),
        ("none", None, None),
        (None, "https://points.example:443", None),
        (None, None, "https://points.example/account"),
    ],
)
def test_a_request_of_our_own_pages_or_of_no_browser_is_let_in(
    site: str | None, origin: str | None, referer: str | None
) -> None:
    assert foreign_origin(sec_fetch_site=site, origin=origin, referer=referer, own=OWN) is None


@pytest.mark.parametrize(
    ("site", "origin", "referer", "source"),
    [
        ("cross-site", None, None, OPAQUE),
        ("cross-site", "https://points.example", None, "https://points.example"),
        ("same-site", "https://evil.points.example", None, "https://evil.points.example"),
        (None, "null", None, OPAQUE),
        (None, "https://evil.example", "https://points.example/", "https://evil.example"),
        (None, None, "https://evil.example/?https://points.example", "https://evil.example"),
        (None, None, "", OPAQUE),
    ],
)
def test_a_request_of_another_site_names_where_it_comes_from(
    site: str | None, origin: str | None, referer: str | None, source: str
) -> None:
    assert foreign_origin(sec_fetch_site=site, origin=origin, referer=referer, own=OWN) == source
