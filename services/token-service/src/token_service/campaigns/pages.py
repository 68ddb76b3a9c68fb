"""`/campaigns`: statistics of campaigns, for the person who runs them."""

import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from shared.dependencies import provided
from shared.errors import Malformed
from shared.identifiers import read_identifier
from shared.spreadsheets import csv_lines
from shared.times import iso
from shared.web.languages import Texts
from shared.web.pages import Pages
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from token_service.campaigns.charts import MOST, charts_of, latest
from token_service.campaigns.domain import Bucket, Counts, Statistics
from token_service.campaigns.service import CampaignService
from token_service.onboarding_client import Session
from token_service.pages.access import as_admin
from token_service.tokens.domain import CampaignNotFound

_LISTED: Final = 100
_LONGEST_WORDS: Final = 128
#: All who look at a tenant's pages are one reader. No client is called so: a client's id has no colon.
_PAGES: Final = "pages:"
_CSV_COLUMNS: Final = ("start", "issued", "opened", "reached", "person", "bot", "scanner", "refused")


def routes() -> list[Route]:
    return [
        Route("/campaigns", show_campaigns, methods=["GET"]),
        Route("/campaigns/{campaign_id:path}", show_campaign, methods=["GET"]),
    ]


async def show_campaigns(request: Request) -> Response:
    """The tenant's campaigns with their counts."""
    request.state.route = "/campaigns"

    async def show(session: Session) -> Response:
        words = (request.query_params.get("q") or "").strip()[:_LONGEST_WORDS]
        page = await _service(request).campaigns(
            session.tenant,
            reader=_PAGES,
            cursor=request.query_params.get("cursor"),
            limit=_LISTED,
            containing=words or None,
            newest_first=True,
        )
        shown = [
            {
                "campaign_id": campaign.campaign_id,
                "counts": [sums.get(event, 0) for event in ("issued", "distinct", "verified", "refused")],
            }
            for campaign, sums in page.items
        ]
        return _pages(request).render(
            request,
            "campaigns.html",
            campaigns=shown,
            next_cursor=page.next_cursor,
            words=words,
            is_first="cursor" not in request.query_params,
        )

    return await as_admin(request, show)


async def show_campaign(request: Request) -> Response:
    """One campaign: figures, charts, and refusals by reason; with `format=csv` the counts for a spreadsheet."""
    request.state.route = "/campaigns/{campaign_id}"

    async def show(session: Session) -> Response:
        try:
            campaign_id = read_identifier(request.path_params["campaign_id"])
        except ValueError:
            raise CampaignNotFound from None
        try:
            bucket = Bucket(request.query_params.get("bucket", "day"))
        except ValueError:
            raise Malformed("The bucket is hour or day.") from None
        # Days begin where the readers are.
        zone = _zone_of(_pages(request).texts(request))
        is_csv = request.query_params.get("format") == "csv"
        statistics = await _service(request).statistics(
            session.tenant, campaign_id, bucket, zone, reader=_PAGES, most=None if is_csv else MOST[bucket]
        )
        return _as_csv(statistics) if is_csv else _as_page(request, statistics)

    return await as_admin(request, show)


def _as_page(request: Request, statistics: Statistics) -> Response:
    pages = _pages(request)
    texts = pages.texts(request)
    rows = latest(statistics.buckets, statistics.bucket, texts.zone)
    label = texts.day if statistics.bucket is Bucket.DAY else texts.hour
    total = statistics.total
    shown = sum(counts.issued + counts.verified + counts.refusals for counts in statistics.buckets.values())
    is_cut = shown < total.issued + total.verified + total.refusals
    most = max(total.refused.values(), default=0)
    reasons = [
        {"words": _in_words(texts, code), "count": count, "width": round(100 * count / most, 1)}
        for code, count in sorted(total.refused.items(), key=lambda item: (-item[1], item[0]))
    ]
    return pages.render(
        request,
        "campaign.html",
        campaign=statistics.campaign,
        campaign_id=statistics.campaign.campaign_id,
        bucket=statistics.bucket.value,
        tiles=_tiles(texts, total),
        charts=charts_of(rows),
        labels=[label(time) for time, _ in rows],
        rows=[
            {"label": label(time), "counts": figures}
            for time, counts in reversed(rows)
            if any(figures := _figures(counts))
        ],
        reasons=reasons,
        is_cut=is_cut,
        zone=str(texts.zone),
    )


def _zone_of(texts: Texts) -> ZoneInfo:
    return texts.zone if isinstance(texts.zone, ZoneInfo) else ZoneInfo("UTC")


def _in_words(texts: Texts, code: str) -> str:
    """A refusal's code in words; the code itself where there are none."""
    return texts.say(f"reason.{code}") if texts.has(f"reason.{code}") else code


def _tiles(texts: Texts, total: Counts) -> list[dict[str, Any]]:
    by_kind = {kind: texts.number(count) for kind, count in total.verified_by.items()}
    tiles = [
        ("issued", total.issued, texts.say("campaign.issued_hint")),
        (
            "reached",
            total.distinct,
            texts.say("campaign.reached_hint", share=texts.share(total.distinct, total.issued)),
        ),
        ("verified", total.verified, texts.say("campaign.verified_hint", **by_kind)),
        ("refused", total.refusals, texts.say("campaign.refused_hint")),
    ]
    if total.opened:
        tiles.insert(1, ("opened", total.opened, texts.say("campaign.opened_hint")))
    return [{"name": name, "count": count, "hint": hint} for name, count, hint in tiles]


def _figures(counts: Counts) -> list[int]:
    kinds = counts.verified_by
    return [counts.issued, counts.distinct, kinds["person"], kinds["bot"], kinds["scanner"], counts.refusals]


def _as_csv(statistics: Statistics) -> Response:
    reasons = sorted(statistics.total.refused)
    rows: list[list[object]] = [[*_CSV_COLUMNS, *(f"refused.{reason}" for reason in reasons)]]
    for start, counts in statistics.buckets.items():
        issued, *others = _figures(counts)
        by_reason = (counts.refused.get(reason, 0) for reason in reasons)
        rows.append([iso(start), issued, counts.opened, *others, *by_reason])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", statistics.campaign.campaign_id).strip("-.") or "campaign"
    return Response(
        csv_lines(rows),
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}-{statistics.bucket.value}.csv"',
        },
        media_type="text/csv",
    )


def _pages(request: Request) -> Pages:
    return provided(request.app, Pages)


def _service(request: Request) -> CampaignService:
    return provided(request.app, CampaignService)
