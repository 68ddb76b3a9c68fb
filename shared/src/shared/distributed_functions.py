"""Writes that run on the server of their tenant, where the tables are distributed.

Citus carries out a statement with several writing parts part by part from the coordinator. A function that Citus knows
runs on the tenant's server, in one round trip. So such a write has two forms, made of the same parts: one statement for
one server with all tables, and a call of a function for a batch of one tenant.

    WRITE, WRITING = writing("house", "write", [Part("rooms", "UPDATE … a.tenant = «new»", 1), …], ["json", …])

    execute(connection, WRITE, None, rooms, …)      # WITH rooms AS (UPDATE …) INSERT …
    execute(connection, WRITE, "demo", rooms, …)    # SELECT house.write_1f0c…($2, $1, …)

`WRITING` is the function that `distribute` makes. Its name has a digest of what it does, so that processes of two
releases each call their own.
"""

import re
from collections.abc import Sequence
from hashlib import blake2s
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from shared.db import Database
from shared.errors import Unavailable
from shared.raw_batches import PLANNING
from shared.tenant_statements import Statement, statement

_FUNCTIONS: Final = "distributed functions"
_TENANT_OF: Final = re.compile(r"«\w+»")
_PARAMETER: Final = re.compile(r"\$(\d+)")
#: Citus does not pass on to the tenant's server what a transaction has set. Names in the functions have their schema.
_SETTINGS: Final = "".join(
    f" SET {name} = {value}" for name, value in {"search_path": "pg_catalog, pg_temp", **PLANNING}.items()
)


class Part(NamedTuple):
    """One of the changes of a write, which reads nothing that another one writes."""

    name: str
    #: Where it has `«named»`, the tenant is that of the row `named`, or of the batch.
    text: str
    #: The number of the parameter with its rows: a list or JSON of one. Without rows it changes nothing.
    rows: int


class DistributedFunction(NamedTuple):
    """A function whose first argument is the tenant.

    It is PL/pgSQL, since Citus refuses statements with parameters in SQL functions.
    """

    schema: str
    name: str
    #: Of its arguments.
    types: tuple[str, ...]
    #: What it carries out, one after the other.
    statements: tuple[str, ...]
    #: The statement that makes it, also if it is there.
    made_by: str

    @property
    def signature(self) -> str:
        return f"{self.schema}.{self.name}({', '.join(self.types)})"


def writing(
    schema: str, verb: str, parts: Sequence[Part], types: Sequence[str], *, mark: str = ""
) -> tuple[Statement, DistributedFunction]:
    """The statement and the function of a write.

    Args:
        verb: the function's name is this and a digest.
        types: of the parameters beside the tenant.
        mark: a comment that both texts of the statement begin with.
    """
    *before, last = parts
    within = ", ".join(f"{part.name} AS (\n{part.text}\n)" for part in before)
    changes = f"WITH {within}\n{last.text}" if before else last.text
    whole = statement(f"{mark}\n{changes}", len(types))
    function = _function(schema, verb, parts, ("text", *types))
    given = ", ".join(f"${number}::{kind}" for number, kind in enumerate(types, start=1))
    call = f"{mark}\nSELECT {schema}.{function.name}(${len(types) + 1}::text, {given})"
    return Statement(call, whole.of_several), function


def _function(schema: str, verb: str, parts: Sequence[Part], types: tuple[str, ...]) -> DistributedFunction:
    statements = tuple(_for_tenant(part.text) for part in parts)
    body = "".join(
        f"IF {_counting(types[part.rows])}(${part.rows + 1}) > 0 THEN\n{text};\nEND IF;\n"
        for part, text in zip(parts, statements, strict=True)
    )
    rest = f"({', '.join(types)}) RETURNS void LANGUAGE plpgsql{_SETTINGS} AS $body$\nBEGIN\n{body}END $body$"
    name = f"{verb}_{blake2s(rest.encode(), digest_size=6).hexdigest()}"
    return DistributedFunction(schema, name, types, statements, f"CREATE OR REPLACE FUNCTION {schema}.{name}{rest}")


def _for_tenant(text: str) -> str:
    """The text with the tenant as its first parameter."""
    moved = _PARAMETER.sub(lambda found: f"${int(found[1]) + 1}", text)
    return _TENANT_OF.sub("$1::text", moved).strip()


def _counting(kind: str) -> str:
    return "json_array_length" if kind == "json" else "cardinality"


def with_functions(*functions: DistributedFunction) -> dict[Any, Any]:
    """The `info` of a service's metadata whose writes run as these functions where its tables are distributed."""
    return {_FUNCTIONS: functions}


def functions_of(metadata: sa.MetaData) -> tuple[DistributedFunction, ...]:
    """What `with_functions` named; none without it."""
    functions: tuple[DistributedFunction, ...] = metadata.info.get(_FUNCTIONS, ())
    return functions


async def check_functions(database: Database, metadata: sa.MetaData) -> None:
    """Raises Unavailable if one of them is missing, as it is after an upgrade until `distribute` has run."""
    signatures = [function.signature for function in functions_of(metadata)]
    named = sa.func.unnest(sa.cast(signatures, sa.ARRAY(sa.Text))).column_valued("signature")
    async with database.transaction() as connection:
        missing = (
            (await connection.execute(sa.select(named).where(sa.func.to_regprocedure(named).is_(None))))
            .scalars()
            .first()
        )
    if missing is not None:
        raise Unavailable(f"The function {missing.partition('(')[0]} is missing: `distribute` makes it.")
