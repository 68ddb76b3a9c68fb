"""The person's own statement: every entry, and what is held for purchases under way; as a page and as CSV."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import Unavailable
from shared.paging import InvalidCursor
from shared.spreadsheets import as_words, csv_lines
from shared.times import iso
from shared.web.pages import Pages
from starlette.responses import Response, StreamingResponse

from partner_onboarding.handshake.account.issuer_client import IssuerClient
from partner_onboarding.handshake.account.ledger_client import Entries, Entry, Hold, LedgerClient
from partner_onboarding.handshake.pages.account import unless_unavailable
from partner_onboarding.register.pages.session import sign_in_first, signed_in_session
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions

PagesPart = Annotated[Pages, needs(Pages)]
SessionService = Annotated[Sessions, needs(Sessions)]
Ledger = Annotated[LedgerClient, needs(LedgerClient)]
Issuer = Annotated[IssuerClient, needs(IssuerClient)]
router = APIRouter(include_in_schema=False)

_PAGE: Final = 50
_CSV_PAGE: Final = 500
_COLUMNS: Final = ("time", "kind", "shop", "reason", "reference", "points", "balance", "held_until")
_NOBODY: Final = Entries(entries=[], next_cursor=None)


@router.api_route("/account/statement", methods=["GET", "HEAD"])
async def statement(
    pages: PagesPart, sessions: SessionService, ledger: Ledger, issuer: Issuer, request: Request
) -> Response:
    who = await signed_in_session(sessions, request)
    if who is None:
        return sign_in_first(pages, request)
    if request.query_params.get("format") == "csv":
        return await _as_csv(ledger, issuer, who)
    cursor = request.query_params.get("cursor")
    try:
        return await _page(pages, ledger, issuer, request, who, cursor)
    except InvalidCursor:
        # A page for people begins at the top where the link is not valid.
        return await _page(pages, ledger, issuer, request, who, None)


async def _page(
    pages: Pages, ledger: LedgerClient, issuer: IssuerClient, request: Request, who: SignedIn, cursor: str | None
) -> Response:
    entries, holds, balance, vendors = await asyncio.gather(
        unless_unavailable(ledger.entries(who.tenant, who.user_id, cursor=cursor, limit=_PAGE)),
        unless_unavailable(ledger.holds(who.tenant, who.user_id)),
        unless_unavailable(ledger.balance(who.tenant, who.user_id)),
        unless_unavailable(issuer.vendors(who.tenant)),
    )
    if isinstance(entries, Unavailable):
        raise entries
    if isinstance(holds, Unavailable):
        raise holds
    found = entries or _NOBODY
    return pages.render(
        request,
        "statement.html",
        entries=found.entries,
        next_cursor=found.next_cursor,
        is_first=not cursor,
        holds=holds,
        balance=None if isinstance(balance, Unavailable) else balance,
        names={} if isinstance(vendors, Unavailable) else {one.vendor_id: one.name for one in vendors},
    )


async def _as_csv(ledger: LedgerClient, issuer: IssuerClient, who: SignedIn) -> Response:
    # All that can fail before the first line is asked for first: an answer that has begun cannot say so any more.
    first, holds, vendors = await asyncio.gather(
        ledger.entries(who.tenant, who.user_id, cursor=None, limit=_CSV_PAGE),
        ledger.holds(who.tenant, who.user_id),
        unless_unavailable(issuer.vendors(who.tenant)),
    )
    names = {} if isinstance(vendors, Unavailable) else {one.vendor_id: one.name for one in vendors}

    async def lines() -> AsyncIterator[str]:
        yield csv_lines([_COLUMNS, *(_hold_cells(hold, names) for hold in holds)])
        page = first or _NOBODY
        while True:
            yield csv_lines(_entry_cells(entry, names) for entry in page.entries)
            if page.next_cursor is None:
                return
            page = (await ledger.entries(who.tenant, who.user_id, cursor=page.next_cursor, limit=_CSV_PAGE)) or _NOBODY

    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="statement.csv"'}
    return StreamingResponse(lines(), headers=headers, media_type="text/csv; charset=utf-8")


def _hold_cells(hold: Hold, names: Mapping[str, str]) -> tuple[object, ...]:
    shop = names.get(hold.vendor_id, hold.vendor_id)
    return (iso(hold.created_at), "hold", as_words(shop), "", "", -hold.points, "", iso(hold.expires_at))


def _entry_cells(entry: Entry, names: Mapping[str, str]) -> tuple[object, ...]:
    shop = "" if entry.vendor_id is None else names.get(entry.vendor_id, entry.vendor_id)
    words = (as_words(shop), as_words(entry.reason), as_words(entry.reference))
    return (iso(entry.created_at), entry.kind, *words, entry.points, entry.balance, "")
