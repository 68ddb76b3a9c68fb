"""`python -m points_ledger reconcile` says what the API says."""

import asyncio
import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from .parties import Platform, Vendor
from .vendor_lists import all_states, ndjson, reconcile


async def command(ledger_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an operator types it."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "points_ledger", "reconcile", *arguments],
        env=os.environ | {"LEDGER_DATABASE_URL": ledger_url},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("media_type", ["csv", "ndjson"])
async def test_the_command_says_the_same_as_a_table_or_as_csv(
    media_type: str,
    shop: Vendor,
    platform: Platform,
    rows: asyncpg.Connection,
    ledger_url: str,
    tenant: str,
    tmp_path: Path,
) -> None:
    await all_states(shop, platform, rows, tenant)
    lines = [("confirmed", "confirmed", 39), ("a b", "held", 1), ("held", "held", 40)]
    file = tmp_path / "list"
    text = "transactionid,state,points\n" + "".join(f"{id_},{state},{points}\n" for id_, state, points in lines)
    file.write_bytes(text.encode() if media_type == "csv" else ndjson(*lines))

    async def run(*options: str) -> subprocess.CompletedProcess[str]:
        return await command(ledger_url, str(file), "--tenant", tenant, "--vendor", "shop", *options)

    as_csv = await run("--format", "csv")
    assert as_csv.returncode == 1, as_csv.stderr
    findings, summary = await reconcile(shop, file.read_bytes() if media_type != "csv" else ndjson(*lines))
    told = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [(row["finding"], row["transactionid"]) for row in told] == [
        (one["finding"], one["transactionid"]) for one in findings
    ]
    assert told[0] == {
        "finding": "points_differ",
        "transactionid": "confirmed",
        "your_state": "confirmed",
        "your_points": "39",
        "our_state": "confirmed",
        "our_points": "40",
        "line": "",
        "detail": "",
    }
    assert as_csv.stderr == ", ".join(f"{name} {count}" for name, count in summary.items()) + "\n"
    as_table = await run()
    first = as_table.stdout.splitlines()[1]
    assert first.split() == ["points_differ", "confirmed", "confirmed", "39", "confirmed", "40"]
    assert as_table.stdout.splitlines()[-1] == as_csv.stderr.strip()
    for options in (
        ("--since", "yesterday"),
        ("--vendor", "a\u200bb"),
        ("--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"),
    ):
        refused = await run(*options)
        assert (refused.returncode, bool(refused.stderr)) == (2, True)
    file.write_bytes(b"a,b\n")
    refused = await run()
    assert (refused.returncode, "transactionid" in refused.stderr) == (2, True)


async def test_books_that_agree_end_the_command_well(ledger_url: str, tenant: str, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("transactionid,state,points\n")
    done = await command(ledger_url, str(file), "--tenant", tenant, "--vendor", "shop")
    assert done.returncode == 0, done.stderr
