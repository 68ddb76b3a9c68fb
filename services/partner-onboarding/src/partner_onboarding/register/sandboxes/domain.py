"""Sandboxes: who lives there, and how far their clock may move at once."""

from datetime import timedelta
from typing import Final, NamedTuple

from shared.durations import CalendarDuration, parse_duration
from shared.errors import Malformed, NotFound
from shared.sandboxes.domain import SandboxUser


class Person(NamedTuple):
    """A user whom every sandbox has from the beginning; `points` are those of a new round."""

    user_id: str
    firstname: str
    points: int

    @property
    def email(self) -> str:
        return f"{self.user_id}@sandbox.example"

    @property
    def lastname(self) -> str:
        return "Sandbox"


#: What the last four do, points-ledger decides by their names.
PEOPLE: Final = (
    Person("user-1", "Una", 10_000),
    Person("user-2", "Duncan", 500),
    Person("user-insufficient", "Ida", 0),
    Person("user-slow", "Sloane", 10_000),
    Person("user-503", "Uriel", 10_000),
    Person("user-expiring", "Esra", 10_000),
)
USERS: Final = tuple(SandboxUser(person.user_id, person.points) for person in PEOPLE)


class MalformedAdvance(Malformed):
    code = "malformed_advance"


class NoSandbox(NotFound):
    """The same as for a path that does not exist: outside of a sandbox there is no such thing."""

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.")


def read_advance(text: str) -> timedelta:
    """By how much a clock is to be moved: `PT20M`, `P1D`.

    Raises:
        MalformedAdvance: no duration of ISO 8601, or one of the calendar, or not between a second and ten years.
    """
    if not text.startswith("P"):
        raise MalformedAdvance("`advance` is a duration of ISO 8601, such as PT20M or P1D.")
    try:
        amount = parse_duration(text)
    except ValueError as error:
        raise MalformedAdvance(f"`advance` {error}.") from None
    if amount is None or isinstance(amount, CalendarDuration):
        raise MalformedAdvance("`advance` counts weeks, days, hours, minutes and seconds: months differ in length.")
    return amount
