"""The operators' page of the audit: filter, search, and download."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.times import in_utc
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.characters import hides_something
from partner_onboarding.register.audit.domain import LONGEST_SEARCH, Action, ActorKind, Filter
from partner_onboarding.register.audit.exporting import csv_of
from partner_onboarding.register.audit.service import Audit, audit_pages
from partner_onboarding.register.pages.access import Operator

_PATH: Final = "/operations/audit"
_PAGE: Final = 50
_DAY: Final = timedelta(days=1)
PagesPart = Annotated[Pages, needs(Pages)]
AuditService = Annotated[Audit, needs(Audit)]
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """The form as it was filled in, and what it means. A page for people leaves out what it does not understand."""

    fields: dict[str, str]
    wanted: Filter

    def address(self, **more: str) -> str:
        """Where the page is shown again with this filter."""
        query = self.fields | more
        return f"{_PATH}?{urlencode(query)}" if query else _PATH


def _asked(request: Request, zone: tzinfo) -> Asked:
    query = request.query_params
    meanings: dict[str, Callable[[str], Any]] = {
        "q": _search,
        "action": lambda text: next((one for one in get_args(Action) if one == text), None),
        "by": lambda text: next((one for one in get_args(ActorKind) if one == text), None),
        "from": lambda text: _midnight(text, zone),
        "to": lambda text: _midnight(text, zone, _DAY),
    }
    texts = {name: query.get(name, "").strip() for name in meanings}
    meant = {name: meaning(texts[name]) if texts[name] else None for name, meaning in meanings.items()}
    fields = {name: texts[name] for name, value in meant.items() if value is not None}
    return Asked(fields, Filter(meant["q"], meant["action"], meant["by"], meant["from"], meant["to"]))


def _search(text: str) -> str | None:
    # Nothing in the audit has characters that nobody sees.
    return None if len(text) > LONGEST_SEARCH or hides_something(text) else text


def _midnight(text: str, zone: tzinfo, later: timedelta = timedelta()) -> datetime | None:
    """Where a day of the tenant's calendar begins; None for what is no day."""
    try:
        return in_utc(datetime.combine(date.fromisoformat(text) + later, time(), zone))
    except (ValueError, OverflowError):
        return None


@router.api_route(_PATH, methods=["GET", "HEAD"])
async def audit_page(pages: PagesPart, audit: AuditService, request: Request, who: Operator) -> Response:
    asked = _asked(request, pages.texts(request).zone)
    if request.query_params.get("format") == "csv":
        return await csv_of(audit, who.tenant, asked.wanted)
    place = audit_pages(who.tenant, asked.wanted).place_or_top(request.query_params.get("before"))
    page = await audit.newest(who.tenant, asked.wanted, before=place, limit=_PAGE)
    return pages.render(
        request,
        "audit.html",
        entries=page.items,
        fields=asked.fields,
        actions=get_args(Action),
        actor_kinds=get_args(ActorKind),
        longest_search=LONGEST_SEARCH,
        is_first=place is None,
        newest=asked.address(),
        older=None if page.next_cursor is None else asked.address(before=page.next_cursor),
        download=asked.address(format="csv"),
    )
