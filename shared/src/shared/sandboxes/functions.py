"""The functions with which a tenant becomes a sandbox and begins anew. They run as the owner of the tables, so that the
role that serves can delete rows of append-only tables in this way alone, and only of a sandbox.

The tables are those of the metadata with a column `tenant`; `shared.tables.in_sandbox` says which rows stay.
"""

from collections.abc import Collection, Iterator
from typing import Final

import sqlalchemy as sa

from shared.sandboxes.tables import ADVANCES, SANDBOXES
from shared.tables import forgotten_of, in_sandbox_of, is_append_only

FOUND: Final = "found_sandbox"
BEGIN_ANEW: Final = "begin_sandbox_anew"


def functions_of(metadata: sa.MetaData, present: Collection[str]) -> list[str]:
    """The statements that create them; none for a schema without sandboxes.

    Args:
        present: the names of the tables that the schema has already.
    """
    if SANDBOXES not in present:
        return []
    schema = metadata.schema
    tables = [table for table in metadata.sorted_tables if table.name in present]
    going = [table for table in tables if "tenant" in table.columns and not in_sandbox_of(table.info).stays]
    # All names and conditions are our own.
    in_use = " OR ".join(f"EXISTS (SELECT FROM {_rows(table)})" for table in going) or "false"
    locks = "".join(f"PERFORM 1 FROM {_rows(table)} ORDER BY {_key(table)} FOR UPDATE;\n" for table in _locked(going))
    deletions = "".join(f"DELETE FROM {_rows(table)};\n" for table in reversed(going))  # noqa: S608 — our own names
    # Of these, migrations may have taken the right to change a row even from the owner. It comes back for a moment that
    # no other transaction sees, and one reset at a time: two at once could not write the same table's rights.
    guarded = [table for table in going if is_append_only(table.info) and forgotten_of(table.info) is None]
    rights = {f"{table.schema}.{table.name}": f"can_{table.name}" for table in guarded}
    declared = "".join(f"{can} boolean := has_table_privilege('{name}', 'DELETE');\n" for name, can in rights.items())
    taken = "".join(f"GRANT UPDATE, DELETE ON {name} TO CURRENT_USER;\n" for name in rights)
    given_back = "".join(
        f"IF NOT {can} THEN REVOKE UPDATE, DELETE ON {name} FROM CURRENT_USER; END IF;\n"
        for name, can in rights.items()
    )
    head = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$"
    return [
        f"""CREATE OR REPLACE FUNCTION {schema}.{FOUND}(of_tenant text) RETURNS boolean {head}
            BEGIN
                IF EXISTS (SELECT FROM {schema}.{SANDBOXES} WHERE tenant = of_tenant) THEN RETURN true; END IF;
                IF {in_use} THEN RETURN false; END IF;
                INSERT INTO {schema}.{SANDBOXES} (tenant) VALUES (of_tenant) ON CONFLICT DO NOTHING;
                RETURN true;
            END $body$""",  # noqa: S608 — see above
        f"""CREATE OR REPLACE FUNCTION {schema}.{BEGIN_ANEW}(of_tenant text, to_round integer) RETURNS boolean {head}
            DECLARE {declared}
                begun timestamptz;
            BEGIN
                PERFORM 1 FROM {schema}.{SANDBOXES} WHERE tenant = of_tenant AND round < to_round FOR UPDATE;
                IF NOT FOUND THEN RETURN false; END IF;
                {locks}
                PERFORM pg_advisory_xact_lock(hashtext('{schema}.{BEGIN_ANEW}'));
                {taken}{deletions}{given_back}
                DELETE FROM {schema}.{ADVANCES} WHERE tenant = of_tenant;
                begun := clock_timestamp();
                UPDATE {schema}.{SANDBOXES} SET round = to_round, begun_at = begun
                 WHERE tenant = of_tenant;
                RETURN true;
            END $body$""",  # noqa: S608 — see above
        *(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC" for function in _signatures(schema)),
    ]


def privileges_of(metadata: sa.MetaData, present: Collection[str], role: str) -> list[str]:
    """The statements that let `role`, which is quoted, call them."""
    if SANDBOXES not in present:
        return []
    return [f"GRANT EXECUTE ON FUNCTION {function} TO {role}" for function in _signatures(metadata.schema)]


def _signatures(schema: str | None) -> tuple[str, str]:
    return f"{schema}.{FOUND}(text)", f"{schema}.{BEGIN_ANEW}(text, integer)"


def _rows(table: sa.Table) -> str:
    """The rows of the tenant that go, as they stand behind FROM."""
    return f"{table.schema}.{table.name} WHERE tenant = of_tenant AND ({in_sandbox_of(table.info).goes_if})"


def _locked(tables: list[sa.Table]) -> Iterator[sa.Table]:
    return (table for table in tables if in_sandbox_of(table.info).is_locked_first)


def _key(table: sa.Table) -> str:
    return ", ".join(column.name for column in table.primary_key.columns)
