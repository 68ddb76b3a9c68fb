"""Whether a statement could run where the tables are distributed by tenant, as Citus does it.

Citus sends a statement to one shard if every distributed table in it has its tenant fixed, in the same part of the
statement. `breaches` says where a statement does not do that, and which of its parts Citus refuses.

    breaches("SELECT * FROM points_ledger.accounts a WHERE a.user_id = $1", layout)
    → [Breach(Kind.CROSSES, "points_ledger.accounts has no tenant")]
"""

import re
from collections.abc import Callable, Iterable, Iterator, Set
from enum import StrEnum
from typing import Final, NamedTuple

import sqlalchemy as sa
import sqlglot
from shared.tables import is_for_all_tenants
from sqlglot import expressions as ex

_TENANT: Final = "tenant"
#: Functions with another result at each call. Citus would give each copy of a row another value. Some are called as
#: sqlglot calls them.
_VOLATILE: Final = frozenset(
    {"clock_timestamp", "random", "rand", "gen_random_uuid", "uuid", "uuidv7", "nextval", "setval", "timeofday"}
)
#: Functions with one result in a statement or transaction.
_STABLE: Final = frozenset(
    {"now", "current_timestamp", "statement_timestamp", "transaction_timestamp", "current_date", "pg_current_xact_id"}
)
_PARAMETER: Final = re.compile(r"\$(\d+)")
_BLOCKS: Final = (ex.Select, ex.Update, ex.Delete, ex.Insert)

Parsed = ex.Expr


class Kind(StrEnum):
    #: Runs on every shard: too slow for a request, all right for a chore.
    CROSSES = "crosses"
    #: Citus ends it with an error.
    REFUSED = "refused"


class Breach(NamedTuple):
    kind: Kind
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


class Layout(NamedTuple):
    """Where tables lie; each of the two takes a table's schema and name."""

    by_tenant: Callable[[str], bool]
    #: Every server has all of it.
    for_all: Callable[[str], bool]

    def has(self, name: str) -> bool:
        return self.by_tenant(name) or self.for_all(name)


def unkeyed(metadata: sa.MetaData) -> list[str]:
    """What keeps tables from being distributed: keys without the tenant, and identity columns of fewer than 64 bits."""
    found = []
    for table in metadata.sorted_tables:
        if is_for_all_tenants(table.info):
            referred = [key.referred_table for key in table.foreign_key_constraints]
            found += [f"{table.name}: refers to {one.name}" for one in referred if not is_for_all_tenants(one.info)]
            continue
        if _TENANT not in table.columns:
            found.append(f"{table.name}: no tenant")
            continue
        found += [
            f"{table.name}: {column.name} is an identity column of fewer than 64 bits"
            for column in table.columns
            if column.identity is not None and not isinstance(column.type, sa.BigInteger)
        ]
        keys = [("primary key", [column.name for column in table.primary_key.columns])]
        for constraint in table.constraints:
            if isinstance(constraint, sa.UniqueConstraint):
                keys.append(("unique", [column.name for column in constraint.columns]))
            if isinstance(constraint, sa.ForeignKeyConstraint) and not is_for_all_tenants(
                constraint.referred_table.info
            ):
                # Both sides, each in the same place.
                pairs = [f"{one.parent.name}={one.column.name}" for one in constraint.elements]
                keys.append(("foreign key", [_TENANT if pair == "tenant=tenant" else pair for pair in pairs]))
        for index in table.indexes:
            if index.unique:
                keys.append(("unique index", [getattr(one, "name", str(one)) for one in index.expressions]))
        found += [f"{table.name}: {kind} ({', '.join(key)})" for kind, key in keys if _TENANT not in key]
    return found


def breaches(statement: str, layout: Layout) -> list[Breach]:
    """What of a statement breaks the rules."""
    # sqlglot takes `$1::text,$2` for a quoted text.
    tree = sqlglot.parse_one(_PARAMETER.sub(r":p\1", statement), read="postgres")
    found: list[Breach] = []
    for block in tree.find_all(*_BLOCKS):
        if isinstance(block, ex.Insert):
            found += _of_insert(block, layout)
        else:
            found += _of_block(block, layout)
    return list(dict.fromkeys(found))


def _of_block(block: Parsed, layout: Layout) -> Iterator[Breach]:
    named = [table for table in _own(block, ex.Table) if layout.by_tenant(_name_of(table))]
    fixed = _fixed(block)
    loose = [table for table in named if table.alias_or_name not in fixed]
    for table in loose:
        yield Breach(Kind.CROSSES, f"{_name_of(table)} has no tenant")
    if loose and block.args.get("locks"):
        yield Breach(Kind.REFUSED, "locks rows of several tenants")
    if loose and _depends_on_others(block) and not all(_lies_beside_another(block, one, layout) for one in loose):
        yield Breach(Kind.REFUSED, "looks up rows of several tenants for each row of others")
    if isinstance(block, (ex.Update, ex.Delete)) and layout.has(_name_of(block.this)):
        yield from _of_change(block)


def _of_change(block: Parsed) -> Iterator[Breach]:
    changes = list(block.expressions) if isinstance(block, ex.Update) else []
    if any(change.this.name == _TENANT for change in changes):
        yield Breach(Kind.REFUSED, "changes the tenant of a row")
    where = block.args.get("where")
    for part in [*(change.expression for change in changes), *([] if where is None else [where])]:
        for name in _functions(part, _VOLATILE):
            yield Breach(Kind.REFUSED, f"{name}() in a change")
        if _has_stable_case(part):
            yield Breach(Kind.REFUSED, "the time in CASE or COALESCE of a change")
        if _moves_a_time(part):
            yield Breach(Kind.REFUSED, "a column and an interval added in a change")
    yield from _of_returning(block)


def _of_insert(block: ex.Insert, layout: Layout) -> Iterator[Breach]:
    target = block.this
    table = target.this if isinstance(target, ex.Schema) else target
    if not layout.has(_name_of(table)):
        return
    conflict = block.args.get("conflict")
    if conflict is not None:
        for part in [*conflict.expressions, *_present(conflict.args.get("where"))]:
            for name in _functions(part, _VOLATILE | _STABLE):
                yield Breach(Kind.REFUSED, f"{name}() in ON CONFLICT")
            if _moves_a_time(part):
                yield Breach(Kind.REFUSED, "a column and an interval added in ON CONFLICT")
    yield from _of_returning(block)
    if layout.by_tenant(_name_of(table)):
        yield from _of_given_tenants(block, _name_of(table))


def _of_given_tenants(block: ex.Insert, name: str) -> Iterator[Breach]:
    target = block.this
    columns = [column.name for column in target.expressions] if isinstance(target, ex.Schema) else []
    source = block.expression
    if isinstance(source, ex.Values):
        rows = [list(row.expressions) for row in source.expressions]
    elif isinstance(source, ex.Select):
        rows = [[one.unalias() for one in source.expressions]]
    else:
        rows = [[]]
    place = columns.index(_TENANT) if _TENANT in columns else 0
    fixed = _fixed(source) if isinstance(source, ex.Select) else set()
    for row in rows:
        given = row[place] if place < len(row) else None
        if not (_is_value(given) or (isinstance(given, ex.Column) and given.table in fixed)):
            yield Breach(Kind.CROSSES, f"{name} is given a tenant that only the rows say")


def _of_returning(block: Parsed) -> Iterator[Breach]:
    for part in _present(block.args.get("returning")):
        for name in _functions(part, _VOLATILE | _STABLE):
            yield Breach(Kind.REFUSED, f"{name}() in RETURNING")


def _fixed(block: Parsed) -> set[str]:
    """The aliases in a block whose tenant is a parameter or a literal, also by way of others in the same block."""
    sources = [one.alias_or_name for one in _sources(block)]
    same: list[set[str]] = [{alias} for alias in sources]
    fixed: set[str] = set()

    def equate(left: str, right: str) -> None:
        joined = [one for one in same if left in one or right in one]
        for one in joined:
            same.remove(one)
        same.append(set().union(*joined, {left, right}))

    for join in _own(block, ex.Join):
        if _TENANT in [one.name for one in join.args.get("using") or []]:
            for before in sources[: sources.index(join.this.alias_or_name)]:
                equate(before, join.this.alias_or_name)
    for left, right in _equalities(block):
        for side, other in ((left, right), (right, left)):
            if not (isinstance(side, ex.Column) and side.name == _TENANT):
                continue
            # Without an alias it is that of the only source, or of all that are joined by it.
            alias = side.table or sources[0]
            if _is_value(other):
                fixed.add(alias)
            elif isinstance(other, ex.Column) and other.name == _TENANT and other.table in sources:
                equate(alias, other.table)
    return set().union(*(one for one in same if one & fixed), set())


def _equalities(block: Parsed) -> Iterator[tuple[Parsed, Parsed]]:
    conditions: list[Parsed] = [one.this for one in _present(block.args.get("where"))]
    conditions += [join.args["on"] for join in _own(block, ex.Join) if join.args.get("on") is not None]
    while conditions:
        condition = conditions.pop().unnest()
        if isinstance(condition, ex.And):
            conditions += [condition.left, condition.right]
        elif isinstance(condition, ex.EQ):
            left, right = condition.left.unnest(), condition.right.unnest()
            if isinstance(left, ex.Tuple) and isinstance(right, ex.Tuple):
                yield from zip(left.expressions, right.expressions, strict=True)
            else:
                yield left, right


def _is_value(part: Parsed | None) -> bool:
    while isinstance(part, ex.Cast):
        part = part.this
    return isinstance(part, (ex.Parameter, ex.Literal, ex.Placeholder))


def _own(block: Parsed, kind: type[Parsed]) -> Iterator[Parsed]:
    """What lies in a block and in none inside it."""
    for found in block.find_all(kind):
        if found is not block and found.find_ancestor(*_BLOCKS) is block:
            yield found


def _sources(block: Parsed) -> Iterator[Parsed]:
    """Tables, functions and queries that a block takes rows from, or changes, in the order of the text."""
    first = [block.this] if isinstance(block, (ex.Update, ex.Delete)) else []
    for one in _present(block.args.get("from_")):
        first.append(one.this)
    first += block.args.get("using") or [] if isinstance(block, ex.Delete) else []
    for source in first:
        yield source
        for join in source.args.get("joins") or []:
            yield join.this
    for join in block.args.get("joins") or []:
        yield join.this
    yield from block.args.get("laterals") or []


def _depends_on_others(block: Parsed) -> bool:
    """Whether it is a LATERAL, or names a column of the block around it."""
    if isinstance(block.parent, (ex.Lateral,)) or isinstance(getattr(block.parent, "parent", None), ex.Lateral):
        return True
    own = {one.alias_or_name for one in _sources(block)}
    columns = (column for column in _own(block, ex.Column) if isinstance(column, ex.Column))
    return any(column.table and column.table not in own for column in columns)


def _lies_beside_another(block: Parsed, table: Parsed, layout: Layout) -> bool:
    """Whether its rows lie with those of a table around the block, each with those of its tenant.

    Then each server can look them up by itself, but for a part of them.
    """
    if block.args.get("limit") is not None or block.args.get("offset") is not None:
        return False
    around: set[str] = set()
    outer = block.find_ancestor(*_BLOCKS)
    while outer is not None:
        around |= {one.alias_or_name for one in _sources(outer) if layout.by_tenant(_name_of(one))}
        outer = outer.find_ancestor(*_BLOCKS)
    return any(
        {side.table for side in pair if isinstance(side, ex.Column) and side.name == _TENANT} & around
        and any(isinstance(side, ex.Column) and side.table == table.alias_or_name for side in pair)
        for pair in _equalities(block)
    )


def _functions(part: Parsed, names: Set[str]) -> Iterator[str]:
    for function in part.find_all(ex.Func):
        name = function.name if isinstance(function, ex.Anonymous) else function.sql_name()
        if name.lower() in names:
            yield name.lower()


def _has_stable_case(part: Parsed) -> bool:
    return any(next(_functions(one, _VOLATILE | _STABLE), None) for one in part.find_all(ex.Case, ex.Coalesce))


def _moves_a_time(part: Parsed) -> bool:
    """PostgreSQL adds an interval to a time differently in each time zone, and Citus wants that done beforehand."""
    return any(
        _is_interval(one.right) and one.left.find(ex.Column) is not None and not _is_in_one_zone(one.left)
        for one in part.find_all(ex.Add, ex.Sub)
    )


def _is_in_one_zone(part: Parsed) -> bool:
    return isinstance(part, ex.AtTimeZone) or (isinstance(part, ex.Anonymous) and part.name.lower() == "timezone")


def _is_interval(part: Parsed) -> bool:
    part = part.unnest()
    if isinstance(part, ex.Cast):
        return part.to.this in {ex.DataType.Type.INTERVAL} or isinstance(part.to, ex.Interval)
    return isinstance(part, ex.Interval)


def _name_of(table: Parsed) -> str:
    schema = table.args.get("db")
    return table.name if schema is None else f"{schema.name}.{table.name}"


def _present(part: Parsed | None) -> Iterable[Parsed]:
    return [] if part is None else [part]
