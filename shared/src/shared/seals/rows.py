"""The rows that are sealed: which they are, their order, their digests, and up to which time all of them are there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.seals.domain import Key, Seal, in_milliseconds
from shared.tenant_statements import ON_ONE_SERVER

_MICROSECONDS: Final[sa.ColumnElement[str]] = sa.literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")
_BEGINNING: Final[sa.ColumnElement[datetime]] = sa.literal_column("'-infinity'::timestamptz")
_NO_BYTES: Final[sa.ColumnElement[bytes]] = sa.literal_column("''::bytea")
_UTF8: Final[sa.ColumnElement[str]] = sa.literal_column("'UTF8'")
_WRITING: Final = ("RowExclusiveLock",)


@dataclass(frozen=True, slots=True)
class SealedTable:
    """An append-only table whose rows are sealed.

    Args:
        at: the time that the database's clock gave a row when it was written. With the tenant before it, it leads an
            index, which may be partial: every statement here says `one_to_seal`.
        columns: version of a row's text → the columns in it. A version that was used never changes, since the digests
            of old rows are made from it; a new column gets a new version.
        taken_under: the table that a writer locks before the row's time is taken, and the modes of that lock; by
            default the table itself, where the time is taken in the INSERT.
        margin: rows are sealed when they are so old, so that a row's time may be taken a moment before its lock.
        kept: how long retention leaves rows; None where they stay for ever.
    """

    table: sa.Table
    at: sa.Column[Any]
    columns: Mapping[int, tuple[sa.Column[Any], ...]]
    taken_under: sa.Table | None = None
    taken_in_modes: tuple[str, ...] = _WRITING
    margin: timedelta = timedelta(seconds=10)
    kept: timedelta | None = None
    key: tuple[sa.Column[Any], ...] = field(init=False)

    def __post_init__(self) -> None:
        others = (column for column in self.table.primary_key.columns if column.name not in {"tenant", self.at.name})
        object.__setattr__(self, "key", tuple(others))

    @property
    def chain(self) -> str:
        """The name of its chains, one for each tenant."""
        return self.table.name

    @property
    def is_dated(self) -> sa.ColumnElement[bool]:
        """True of every row; by it the planner takes the index that begins with tenant and time."""
        return self.at > _BEGINNING

    @property
    def version(self) -> int:
        """That of new seals."""
        return max(self.columns)

    def name_of(self, key: Key) -> str:
        """A row, in words."""
        named = ", ".join(f"{column.name} {value}" for column, value in zip(self.key, key[1:], strict=True))
        return f"{named}, of {key[0].isoformat()}"

    def rows(
        self,
        tenant: str,
        version: int,
        *,
        after: Seal | None,
        within: Seal | None = None,
        before: datetime | None = None,
        limit: int,
    ) -> sa.Select[Any]:
        """Time, key and digest of the tenant's rows, in order.

        Args:
            after: rows that belong behind this seal.
            within: rows that belong into this one, or before it.
            before: rows of an earlier time only.
        """
        order = self._order()
        query = sa.select(self.at, *self.key, self._digest(version))
        query = query.where(self.table.c.tenant == tenant, self.at > _BEGINNING)
        if after is not None:
            # The time by itself is what the index finds; texts of the key have another order in it.
            query = query.where(self.at >= after.until, sa.tuple_(*order) > self._literal(after.last))
        if within is not None:
            up_to_last = sa.tuple_(*order) <= self._literal(within.last)
            query = query.where(
                self.at <= max(within.until, within.last_at), sa.or_(self.at < within.until, up_to_last)
            )
        if before is not None:
            query = query.where(self.at < before)
        return query.order_by(*order).limit(limit)

    def slice(self, tenant: str, version: int, *, after: Seal | None, before: datetime, limit: int) -> sa.Select[Any]:
        """What a seal holds of the first of these rows, as one row: reading a thousand would keep a process busy.

        All but the count is NULL if there are none.
        """
        found = self.rows(tenant, version, after=after, before=before, limit=limit).cte("found")
        places = [found.c[column.name] for column in (self.at, *self.key)]
        in_order = [_by_bytes(column) for column in places]
        key = sa.func.jsonb_build_array(*places[1:])

        def end(of: sa.ColumnElement[Any], direction: Callable[[Any], Any]) -> sa.ColumnElement[Any]:
            """A column of the first or last row."""
            return sa.select(of).order_by(*map(direction, in_order)).limit(1).scalar_subquery()

        content = sa.func.string_agg(found.c.digest, aggregate_order_by(_NO_BYTES, *in_order), type_=sa.LargeBinary)
        return sa.select(
            sa.func.count().label("rows"),
            end(places[0], sa.asc).label("first_at"),
            end(key, sa.asc).label("first_key"),
            end(places[0], sa.desc).label("last_at"),
            end(key, sa.desc).label("last_key"),
            content.label("content"),
        ).select_from(found)

    def waiting(self, seals: sa.Table, before: datetime, limit: int) -> sa.Select[Any]:
        """Tenants with rows that are in no seal yet, and the time of the oldest; the oldest ones first.

        Each tenant is found by a look into the index, and so are its last seal and its first row behind that.
        """
        tenant = self.table.c.tenant
        first = (
            sa.select(tenant).where(tenant > sa.literal_column("''"), self.at > _BEGINNING).order_by(tenant).limit(1)
        )
        owners = first.cte("owners", recursive=True)
        following = (
            sa.select(tenant)
            .where(tenant > owners.c.tenant, self.at > _BEGINNING)
            .order_by(tenant)
            .limit(1)
            .scalar_subquery()
        )
        owners = owners.union_all(sa.select(following).where(owners.c.tenant.is_not(None)))
        last, oldest = self._ends(seals, owners.c.tenant, before)
        return (
            sa.select(owners.c.tenant, oldest.c.at)
            .select_from(owners.outerjoin(last, sa.true()).join(oldest, sa.true()))
            .order_by(oldest.c.at)
            .limit(limit)
            .suffix_with(ON_ONE_SERVER)
        )

    def waiting_of(self, tenant: str, seals: sa.Table, before: datetime) -> sa.Select[Any]:
        """The time of the tenant's oldest row that is in no seal yet; no row if there is none."""
        alone = sa.select(sa.literal(1)).subquery("alone")
        last, oldest = self._ends(seals, sa.literal(tenant), before)
        return sa.select(oldest.c.at).select_from(alone.outerjoin(last, sa.true()).join(oldest, sa.true()))

    def _ends(
        self, seals: sa.Table, tenant: sa.ColumnElement[str], before: datetime
    ) -> tuple[sa.FromClause, sa.FromClause]:
        """A tenant's last seal, and the first row behind it."""
        last = (
            sa.select(seals.c.last_at, seals.c.last_key, seals.c.until)
            .where(seals.c.tenant == tenant, seals.c.chain == self.chain)
            .order_by(seals.c.number.desc())
            .limit(1)
            .lateral("last")
        )
        place = sa.tuple_(last.c.last_at, *(_from_json(last.c.last_key, n, c) for n, c in enumerate(self.key)))
        oldest = (
            sa.select(self.at.label("at"))
            .where(
                self.table.c.tenant == tenant,
                self.at < before,
                self.at > _BEGINNING,
                self.at >= sa.func.coalesce(last.c.until, _BEGINNING),
                sa.or_(last.c.last_at.is_(None), sa.tuple_(*self._order()) > place),
            )
            .order_by(self.at)
            .limit(1)
            .lateral("oldest")
        )
        return last, oldest

    async def horizon(self, connection: AsyncConnection) -> tuple[datetime, datetime]:
        """The database's clock, and the time before which all rows are committed and none gets written any more.

        A writer takes the time of a row under a lock on `taken_under`, which it keeps to its end. Its transaction is
        older than that. So only transactions that write here are waited for, and no others, however long they last.
        """
        # The clock first: who has no lock at the look takes a later time. And the look before the rows are read, in a
        # statement of its own: those who have ended by then, the read sees.
        now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        taken_under = self.table if self.taken_under is None else self.taken_under
        given = {"name": taken_under.fullname, "modes": list(self.taken_in_modes)}
        oldest: datetime | None = (await connection.execute(_OLDEST_WRITER, given)).scalar_one()
        return now, in_milliseconds(min(now, oldest or now) - self.margin)

    def _order(self) -> Sequence[sa.ColumnElement[Any]]:
        # By bytes: the order must be the same in a copy whose database sorts texts otherwise.
        return [self.at, *(_by_bytes(column) for column in self.key)]

    def _literal(self, key: Key) -> sa.Tuple:
        columns = (self.at, *self.key)
        return sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(key, columns, strict=True)))

    def _digest(self, version: int) -> sa.ColumnElement[bytes]:
        fields = (_told(column) for column in self.columns[version])
        text = sa.cast(sa.func.json_build_array(sa.literal_column(f"'{self.chain}'"), *fields), sa.Text)
        return sa.func.sha256(sa.func.convert_to(text, _UTF8), type_=sa.LargeBinary).label("digest")


# Others' locks are seen without any right; of the times of others' transactions, those of the own role are. Nobody else
# writes here.
_OLDEST_WRITER: Final = sa.text(
    """
    SELECT min(activity.xact_start)
      FROM pg_catalog.pg_locks AS held
      JOIN pg_catalog.pg_stat_activity AS activity USING (pid)
     WHERE held.locktype = 'relation' AND held.relation = to_regclass(:name)
       AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND held.mode = ANY (CAST(:modes AS text[])) AND held.pid <> pg_backend_pid()
    """
)


def _by_bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.collate(column, "C") if isinstance(column.type, sa.Text) else column


def _from_json(array: sa.ColumnElement[Any], place: int, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(array[place].astext, column.type)


def _told(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column in the text of a row."""
    if isinstance(column.type, sa.DateTime):
        return sa.func.to_char(sa.func.timezone(sa.literal_column("'UTC'"), column), _MICROSECONDS)
    if isinstance(column.type, sa.LargeBinary):
        return sa.func.encode(column, sa.literal_column("'hex'"))
    if isinstance(column.type, JSONB):
        return sa.cast(column, sa.Text)
    return column
