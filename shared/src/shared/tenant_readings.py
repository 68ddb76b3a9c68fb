"""Statements of SQLAlchemy that read rows of several tenants; where the tables are distributed, one for each tenant.

_ASKED = func.unnest(bindparam("tenants", …), bindparam("user_ids", …)).table_valued("tenant", "user_id", name="asked")
_NAMES = TenantReading(
    lambda tenant: select(users.c.name).select_from(_ASKED)
    .join(users, (users.c.tenant == tenant) & (users.c.user_id == _ASKED.c.user_id)),
    _ASKED.c.tenant,
)

rows = await _NAMES.read(database, {"tenants": tenants, "user_ids": user_ids})
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from shared.db import Database
from shared.readings import Reading, Row
from shared.tenant_statements import ON_ONE_SERVER


class TenantReading:
    """A statement and its two texts.

    Args:
        of: makes the statement; takes the tenant of a row.
        asked: the tenant of each row that is asked about.
    """

    def __init__(self, of: Callable[[sa.ColumnElement[str]], sa.Select[Any]], asked: sa.ColumnElement[str]) -> None:
        self._of_several = Reading(of(asked).suffix_with(ON_ONE_SERVER))
        self._of_one = Reading(of(sa.bindparam("tenant", type_=sa.Text)))

    async def read(self, database: Database, columns: Mapping[str, Sequence[Any]], **values: Any) -> list[Row]:
        """The rows.

        Args:
            columns: what is asked about, a list for each parameter; one of them is `tenants`.
            values: the other parameters.

        Raises:
            Unavailable: the database, or the server of one of the tenants, cannot be reached.
        """
        if not database.is_distributed:
            return await database.read(self._of_several, **columns, **values)
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, tenant in enumerate(columns["tenants"]):
            places[tenant].append(place)
        found = await asyncio.gather(
            *(
                database.read(
                    self._of_one,
                    tenant=tenant,
                    **{name: [column[place] for place in own] for name, column in columns.items()},
                    **values,
                )
                for tenant, own in places.items()
            )
        )
        return [row for rows in found for row in rows]
