"""One rule for the addresses that others give us, whichever service they give them to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.web.addresses import (
    MAX_CHARACTERS,
    bare_origin,
    check_address,
    is_loopback,
    is_registered,
    local_path,
    origin_of,
)

GOOD = (
    "https://shop.example",
    "https://shop.example/a/b?c=d&e=%22",
    "https://shop.example:8443/a%20b",
    "https://xn--bcher-kva.example/",
    "https://my_shop.example/",
    "https://[2001:db8::1]/x",
    "https://192.0.2.1/x",
    "HTTPS://Shop.Example/",
)
BAD = (
    "",
    "shop.example",
    "//shop.example",
    "/path",
    "ftp://shop.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://",
    "https:///x",
    "https://@",
    "https://user@shop.example",
    "https://user:secret@shop.example",
    "https://shop.example@evil.example",
    "https://shop.example:port/",
    "https://shop.example:99999/",
    "https://shop.example:0/",
    "https://shop.example:/",
    "https://[::1",
    "https://[fe80::1%25eth0]/",
    "https://.shop.example",
    "https://shop..example",
    "https://shop.example./",
    "https://shop.example/a b",
    "https://shop.example/\n",
    "https://shop.example/\t",
    "https://shop.example/\x00",
    "https://my\\shop.example",
    "https://shop.example/<b>",
    'https://shop.example/"',
    "https://bücher.example",
    "https://shop.example/\ud800",
    "https://shop.example/" + "a" * MAX_CHARACTERS,
)


@pytest.mark.parametrize("url", GOOD)
def test_an_address_is_kept_as_it_was_given(url: str) -> None:
    assert check_address(url, plain_http=False) == url


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("plain_http", [True, False])
def test_what_a_browser_and_we_could_read_differently_is_refused(url: str, plain_http: bool) -> None:
    with pytest.raises(ValueError, match="must"):
        check_address(url, plain_http=plain_http, fragment=True)


@pytest.mark.parametrize(
    "url", ["http://shop.example/", "http://localhost:8010/landing", "http://127.0.0.1/", "http://[::1]/"]
)
def test_plain_http_is_for_development_and_there_for_every_host(url: str) -> None:
    assert check_address(url, plain_http=True) == url
    with pytest.raises(ValueError, match="must begin with https://"):
        check_address(url, plain_http=False)


def test_a_query_and_a_fragment_are_allowed_by_name() -> None:
    assert check_address("https://shop.example/?a#b", plain_http=False, fragment=True)
    for fragment in ("https://shop.example/#b", "https://shop.example/#"):
        with pytest.raises(ValueError, match="must not have a fragment"):
            check_address(fragment, plain_http=False)
    for query in ("https://shop.example/?a=b", "https://shop.example/?"):
        with pytest.raises(ValueError, match="must not have a query"):
            check_address(query, plain_http=False, query=False)


def test_a_caller_may_set_a_bound_of_its_own() -> None:
    with pytest.raises(ValueError, match="must have at most 20 characters"):
        check_address("https://shop.example/a", plain_http=False, max_characters=20)


@given(st.text(max_size=40))
def test_whatever_follows_a_host_makes_it_good_or_is_refused(rest: str) -> None:
    url = f"https://shop.example{rest}"
    try:
        kept = check_address(url, plain_http=False)
    except ValueError:
        return
    assert kept == url
    assert kept.isascii()
    assert kept.isprintable()
    assert " " not in kept
    assert (origin_of(kept) or "").startswith("https://shop.example")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x?y", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("null", None),
        ("", None),
        ("https://", None),
        ("https://a:b", None),
        ("file:///x", None),
        ("https://[", None),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://shop.example/path", None),
        ("https://shop.example/?", None),
        ("https://shop.example/#", None),
        ("https://user@shop.example", None),
        ("https://shop.example/\t", None),
        ("null", None),
        ("*", None),
        ("", None),
    ],
)
def test_an_origin_alone_has_nothing_after_it(url: str, origin: str | None) -> None:
    assert bare_origin(url) == origin


@pytest.mark.parametrize(
    ("url", "registered", "is_good"),
    [
        ("https://app.example/cb", "https://app.example/cb", True),
        ("https://app.example/cb/", "https://app.example/cb", False),
        ("https://app.example:8443/cb", "https://app.example/cb", False),
        ("http://127.0.0.1:51004/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1:51004/cb", "http://127.0.0.1:8000/cb", True),
        ("http://[::1]:51004/cb?a=b", "http://[::1]/cb?a=b", True),
        ("http://localhost:51004/cb", "http://localhost:8000/cb", True),
        ("http://127.0.0.1:51004/other", "http://127.0.0.1/cb", False),
        ("http://127.0.0.2:51004/cb", "http://127.0.0.1/cb", False),
        ("https://127.0.0.1:51004/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:51004/cb#x", "http://127.0.0.1/cb", False),
        ("http://user@127.0.0.1:51004/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:x/cb", "http://127.0.0.1/cb", False),
        ("http://localhost.evil.example:1/cb", "http://localhost/cb", False),
    ],
)
def test_a_registered_address_is_matched_exactly_but_for_a_loopbacks_port(
    url: str, registered: str, is_good: bool
) -> None:
    assert is_registered(url, registered) is is_good


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True),
        ("points.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_which_hosts_are_this_machine(host: str | None, is_own: bool) -> None:
    assert is_loopback(host) is is_own


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/account", "/account"),
        ("/a?b=c#d", "/a?b=c#d"),
        ("/", "/"),
        (None, "/default"),
        ("", "/default"),
        ("account", "/default"),
        ("//evil.example", "/default"),
        ("///evil.example", "/default"),
        ("/\\evil.example", "/default"),
        ("\\\\evil.example", "/default"),
        ("/\t/evil.example", "/default"),
        ("/\n/evil.example", "/default"),
        (" //evil.example", "/default"),
        ("https://evil.example", "/default"),
        ("javascript:alert(1)", "/default"),
        ("/a\x00", "/default"),
        ("/" + "a" * 65_536, "/default"),
    ],
)
def test_people_are_only_sent_on_within_this_site(given: str | None, expected: str) -> None:
    assert local_path(given, "/default") == expected


def test_what_stands_behind_a_bracket_is_no_part_of_an_address() -> None:
    assert not is_registered("http://[::1].evil.example/back", "http://[::1]/back")
    assert origin_of("https://[::1].evil.example/") is None
    with pytest.raises(ValueError, match="URL"):
        check_address("https://[::1].evil.example/", plain_http=False)
    assert is_registered("http://[::1]:51004/back", "http://[::1]/back")
