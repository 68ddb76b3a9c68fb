"""Pages of a vendor's transactions by creation: of one state, or of several together.

The index has the transactions of each state by themselves, in the order of their creation. A page of several states
reads of each what it needs, in one statement, and so in one snapshot: between two, a row may move from one state to
another, and would be in neither.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from points_ledger.domain.transactions import State
from points_ledger.reach import within_reach
from points_ledger.tables import ONE_OF_A_PAGE, transactions

Page = sa.Select[Any] | sa.CompoundSelect[Any]

#: A page ends before this instant.
UNTIL: Final = sa.bindparam("until", type_=sa.DateTime(timezone=True))
_LIMIT: Final = sa.bindparam("limit", type_=sa.BigInteger)


class Part(NamedTuple):
    """The transactions in one state, and which of them belong to a page; None if all do.

    `kept` may leave over few, and so bounds the look; all but the latest are `old_enough`.
    """

    state: State
    kept: sa.ColumnElement[bool] | None = None
    old_enough: sa.ColumnElement[bool] | None = None


#: All transactions of a vendor. Most are confirmed. The held ones come last: see `first_of`.
EACH_STATE: Final = (*(Part(state) for state in State if state is not State.HELD), Part(State.HELD))


def in_state(state: State) -> sa.TextClause:
    """The words of the index for the transactions in this state."""
    # The value of an enumeration goes in, as a literal: see `HELD`.
    return sa.text(f"state = '{state.value}' AND {ONE_OF_A_PAGE.text}")  # nosemgrep: sql-text-in-f-string


def first_of(columns: Sequence[sa.ColumnElement[Any]], parts: Sequence[Part]) -> Page:
    """The first rows of the parts together, the oldest first, with their `created_at` as `at`; see `within_reach`.

    It takes milliseconds to put together: keep it, and execute it with `asked_of`.

    A part that gives a whole page ends the look at all that come after it: what was created later is not on the page.
    Of a hold that has ended, the index keeps an entry until a vacuum has been there. As the held ones are read last, no
    more such entries are passed than the parts before have rows.

    Args:
        columns: of `transactions`, with `transaction_id`.
    """
    one = transactions.c
    order = {"at": one.created_at, "transaction_id": one.transaction_id}
    page = sa.select(*columns, one.created_at.label("at")).where(
        one.tenant == sa.bindparam("of_tenant"),
        one.vendor_id == sa.bindparam("of_vendor"),
        sa.tuple_(one.created_at, one.transaction_id)
        > sa.tuple_(sa.bindparam("behind", type_=one.created_at.type), sa.bindparam("behind_id", type_=sa.Text)),
        one.created_at < UNTIL,
    )
    found: list[sa.CTE] = []
    ends: list[sa.ScalarSelect[Any]] = []
    for state, kept, old_enough in parts:
        among = page.where(in_state(state))
        if old_enough is not None:
            among = among.where(old_enough)
        if ends:
            among = among.where(one.created_at <= sa.func.coalesce(sa.func.least(*ends), sa.text("'infinity'")))
        part = within_reach(among, order, kept, _LIMIT)
        if len(parts) == 1:
            return part
        found.append(part.cte(state.value))
        end = sa.select(sa.func.max(found[-1].c.at).label("at")).having(sa.func.count() == _LIMIT)
        ends.append(sa.select(end.cte(f"end_of_{state.value}").c.at).scalar_subquery())
    together = sa.union_all(*(sa.select(part) for part in found))
    return together.order_by("at", "transaction_id").limit(_LIMIT)


def asked_of(
    tenant: str, vendor_id: str, behind: tuple[datetime, str], until: datetime, limit: int
) -> dict[str, object]:
    """The parameters of `first_of`.

    Args:
        behind: creation and id of the last row before the page. No id is empty: with an empty one, the page begins with
            what was created at that instant.
    """
    named = {"of_tenant": tenant, "of_vendor": vendor_id}
    return named | {"behind": behind[0], "behind_id": behind[1], "until": until, "limit": limit}
