"""What strangers can fill must not grow."""

from shared.bounded import Bounded


def test_it_forgets_what_nobody_has_asked_for_the_longest() -> None:
    known: Bounded[str, int] = Bounded(at_most=2)
    known.keep("one", 1)
    known.keep("two", 2)
    assert known.get("one") == 1
    known.keep("three", 3)
    assert (known.get("one"), known.get("two"), known.get("three")) == (1, None, 3)


def test_what_is_kept_anew_is_the_youngest() -> None:
    known: Bounded[str, int] = Bounded(at_most=2)
    known.keep("one", 1)
    known.keep("two", 2)
    known.keep("one", 10)
    known.keep("three", 3)
    assert list(known) == ["one", "three"]
    assert known.get("one") == 10


def test_a_million_made_up_names_leave_no_more_than_was_agreed() -> None:
    known: Bounded[int, bool] = Bounded(at_most=100)
    for name in range(1_000_000):
        known.keep(name, True)
    assert len(known) == 100


def test_what_is_too_old_is_as_good_as_forgotten() -> None:
    now = 0.0
    known: Bounded[str, int] = Bounded(at_most=10, seconds=5, clock=lambda: now)
    known.keep("one", 1)
    now = 4.9
    assert "one" in known
    now = 5.0
    assert "one" not in known
    assert known.pop("one") is None
    assert len(known) == 0


def test_it_forgets_on_demand() -> None:
    known: Bounded[str, int] = Bounded(at_most=10)
    known.keep("one", 1)
    known.keep("two", 2)
    assert known.pop("one") == 1
    assert known.pop("one") is None
    known.clear()
    assert len(known) == 0
