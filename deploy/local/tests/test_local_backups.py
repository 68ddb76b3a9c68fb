"""A backup that is missing, too old, or half is noticed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from local_platform.__main__ import app
from local_platform.backups import Backups
from local_platform.services import SERVICES
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

NOW = 1_800_000_000.0
HOUR = 3600.0


def dump(directory: Path, name: str, *, age: float = 0, content: bytes = b"PGDMP and more") -> None:
    file = directory / name
    file.write_bytes(content)
    os.utime(file, (NOW - age, NOW - age))


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path, ["points-ledger"], clock=lambda: NOW)


def test_a_fresh_backup_is_no_fault(backups: Backups, tmp_path: Path) -> None:
    dump(tmp_path, "points-ledger-2027-01-14.dump", age=40 * HOUR)
    dump(tmp_path, "points-ledger-2027-01-15.dump", age=HOUR)
    assert backups.faults(at_most_hours=26) == []
    assert [each.name for each in backups.of("points-ledger")] == [
        "points-ledger-2027-01-15.dump",
        "points-ledger-2027-01-14.dump",
    ]


def test_an_old_backup_is_named(backups: Backups, tmp_path: Path) -> None:
    dump(tmp_path, "points-ledger-2027-01-14.dump", age=27 * HOUR)
    (fault,) = backups.faults(at_most_hours=26)
    assert "points-ledger-2027-01-14.dump" in fault
    assert "27.0 hours" in fault


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("points-ledger-2027-01-15.dump.part", b"PGDMP and more"),
        ("points-ledger-2027-01-15.dump", b""),
        ("points-ledger-2027-01-15.dump", b"-- a dump as text"),
        ("token-service-2027-01-15.dump", b"PGDMP and more"),
    ],
    ids=["has yet to get its name", "empty", "no dump", "of another service"],
)
def test_what_is_no_backup_does_not_count(backups: Backups, tmp_path: Path, name: str, content: bytes) -> None:
    dump(tmp_path, name, content=content)
    assert backups.faults(at_most_hours=26) == [f"points-ledger: there is no backup in {tmp_path}"]


def test_the_command_names_every_service_without_a_backup(tmp_path: Path) -> None:
    (tmp_path / "token-service-today.dump").write_bytes(b"PGDMP and more")
    ended = CliRunner().invoke(app, ["backups", str(tmp_path)])
    assert ended.exit_code == 1
    missing = [service.name for service in SERVICES if service.name != "token-service"]
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == missing


async def test_figures_are_those_of_the_moment(tmp_path: Path, unused_tcp_port: int) -> None:
    dump(tmp_path, "points-ledger-1.dump", age=HOUR, content=b"PGDMP" * 100)
    watch = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local_platform", "backups", str(tmp_path), "--watch", "--port", str(unused_tcp_port))
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}", trust_env=False) as client:

            async def figures() -> dict[str, float]:
                text = (await client.get("/metrics")).text
                return {
                    each.name: each.value
                    for family in text_string_to_metric_families(text)
                    for each in family.samples
                    if each.labels.get("service") == "points-ledger"
                }

            async with asyncio.timeout(30):
                while True:
                    try:
                        first = await figures()
                        break
                    except httpx.TransportError:
                        assert watch.returncode is None
            assert first["backup_last_timestamp_seconds"] == NOW - HOUR
            assert (first["backup_last_bytes"], first["backup_former_bytes"]) == (500, 0)
            dump(tmp_path, "points-ledger-2.dump", content=b"PGDMP" * 10)
            second = await figures()
            assert second["backup_last_timestamp_seconds"] == NOW
            assert (second["backup_last_bytes"], second["backup_former_bytes"]) == (50, 500)
        watch.send_signal(signal.SIGTERM)
        assert await watch.wait() == 0
    finally:
        if watch.returncode is None:
            watch.kill()
            await watch.wait()
