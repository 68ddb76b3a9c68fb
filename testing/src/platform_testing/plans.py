"""What PostgreSQL's planner makes of a statement, on a database as young as can be: it has no statistics yet.

A connection keeps the plan of a hot statement. One that reads a table whole is quick while the table is small, and is
what stops a service once it is not.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from shared.db import Database
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

#: Ways that only a planner with nothing to go by prefers to an index.
WAYS_OF_SMALL_TABLES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection, past the service's pool."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


class Scan(NamedTuple):
    """A look into an index."""

    name: str
    condition: str


async def indexes_of(
    connection: asyncpg.Connection, statement: str, *, without: Sequence[str] = WAYS_OF_SMALL_TABLES
) -> dict[str, str]:
    """index → its condition, in the plan that a connection keeps; fails where a table is read whole.

    Args:
        without: the planner's ways that are switched off.
    """
    return {scan.name: scan.condition for scan in scans_of(await kept_plan(connection, statement, without=without))}


async def kept_plan(
    connection: asyncpg.Connection, statement: str, *, without: Sequence[str] = WAYS_OF_SMALL_TABLES
) -> list[str]:
    """The plan that a connection keeps.

    Args:
        without: the planner's ways that are switched off.
    """
    count = max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    parameters = f" ({', '.join(['NULL'] * count)})" if count else ""
    async with connection.transaction():
        for setting in without:
            await connection.execute(f"SET LOCAL {setting} = off")
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE looked_at AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE looked_at{parameters}")
        await connection.execute("DEALLOCATE looked_at")
    return [row[0] for row in rows]


def scans_of(lines: Sequence[str]) -> list[Scan]:
    """The looks into indexes of a plan; fails where a table is read whole."""
    plan = "\n".join(lines)
    assert "Seq Scan" not in plan, plan
    found = []
    for line, condition in zip(lines, [*lines[1:], ""], strict=True):
        if name := re.search(r"(?:Index (?:Only )?Scan (?:Backward )?using|Bitmap Index Scan on) (\w+)", line):
            assert "Index Cond:" in condition, plan
            found.append(Scan(name[1], condition))
    return found


async def rows_looked_at(connection: asyncpg.Connection, statement: str, asked: str, table: str) -> int:
    """The rows of a table that a statement looks at, needed or not, by the plan that a connection keeps.

    Args:
        asked: the parameters as SQL, with commas between them.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off")
        await connection.execute(f"PREPARE looked_at AS {statement}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE looked_at ({asked})")
        await connection.execute("DEALLOCATE looked_at")
    nodes = _nodes(json.loads(plan)[0]["Plan"])
    return round(sum(_looked_at(node) for node in nodes if node.get("Relation Name") == table))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _looked_at(node: dict[str, Any]) -> float:
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(each * node["Actual Loops"])


async def as_sent(url: str, query: Callable[[AsyncConnection], Awaitable[object]]) -> str:
    """The statement that a query is to the driver; its last one, where it has several."""
    database = Database(url)
    sent: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        sent.append(statement)

    async with database.transaction() as connection:
        event.listen(database.engine.sync_engine, "before_cursor_execute", keep)
        await query(connection)
    await database.dispose()
    return sent[-1]
