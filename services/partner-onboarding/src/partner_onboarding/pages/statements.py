"""Lines of a statement in words."""

from shared.web.languages import Texts


def kind_of_entry(texts: Texts, kind: str) -> str:
    """What changed the points: `Earned`, `Spent`; the ledger's own word for a kind that this page does not know."""
    key = f"entry.{kind}"
    return texts.say(key) if texts.has(key) else kind


def signed_number(texts: Texts, points: int) -> str:
    """`+1,250`, `−300`: with a sign in any case, a minus that is as wide as the plus."""
    return f"{'−' if points < 0 else '+'}{texts.number(abs(points))}"
