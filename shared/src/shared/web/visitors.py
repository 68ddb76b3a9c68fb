"""The visitor of a page, for its frame: navigation by role, and signing out."""

from dataclasses import dataclass, field

from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in.

    Args:
        tenant_name: what the tenant is called, where that is known.
    """

    tenant: str
    roles: frozenset[str] = field(default_factory=frozenset)
    tenant_name: str = ""


def welcome(request: Request, visitor: Visitor) -> None:
    """Lets every page that answers this request show that `visitor` is signed in."""
    request.state.visitor = visitor


def visitor_of(request: Request) -> Visitor | None:
    found = getattr(request.state, "visitor", None)
    return found if isinstance(found, Visitor) else None
