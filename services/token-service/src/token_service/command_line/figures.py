"""`stats`: a campaign's figures as a table in the terminal."""

from datetime import datetime
from zoneinfo import ZoneInfo

from rich.table import Table

from token_service.campaigns import store
from token_service.campaigns.domain import Bucket, Counts, Statistics, statistics_of
from token_service.command_line.workplace import Parts
from token_service.tokens.domain import CampaignNotFound


async def statistics(parts: Parts, tenant: str, campaign_id: str, bucket: Bucket) -> Statistics:
    """Raises CampaignNotFound."""
    async with parts.database.transaction() as connection:
        campaign = await store.read_campaign(connection, tenant, campaign_id)
        if campaign is None:
            raise CampaignNotFound
        sums = await store.read_counts(connection, tenant, campaign_id, bucket, ZoneInfo("UTC"))
        return statistics_of(campaign, sums, bucket)


def table_of(found: Statistics) -> Table:
    """One row for each bucket, and the sum."""
    table = Table(title=found.campaign.campaign_id, show_footer=True)
    total = found.total
    table.add_column(f"{found.bucket.value} (UTC)", "total", no_wrap=True)
    for name, footer in zip(
        ("issued", "opened", "reached", "people", "bots", "scanners", "refused"), _figures(total), strict=True
    ):
        table.add_column(name, footer, justify="right")
    for start, counts in found.buckets.items():
        table.add_row(_label(start, found.bucket), *_figures(counts))
    for reason, count in sorted(total.refused.items(), key=lambda item: -item[1]):
        table.add_row(f"refused: {reason}", *[""] * 6, f"{count:,}", style="dim")
    return table


def _figures(counts: Counts) -> list[str]:
    kinds = counts.verified_by
    numbers = (
        counts.issued,
        counts.opened,
        counts.distinct,
        kinds["person"],
        kinds["bot"],
        kinds["scanner"],
        counts.refusals,
    )
    return [f"{number:,}" for number in numbers]


def _label(start: datetime, bucket: Bucket) -> str:
    return f"{start:%Y-%m-%d}" if bucket is Bucket.DAY else f"{start:%Y-%m-%d %H:00}"
