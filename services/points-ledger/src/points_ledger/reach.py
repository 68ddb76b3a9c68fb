"""Pages for which a statement looks at so many rows and no more, however few of them a filter leaves over.

A page may have fewer rows than asked for, even none, and `next_cursor` leads on from where the look ended.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

R = TypeVar("R")
P = TypeVar("P")

#: Rows in the order of the list that are looked at for one page. A literal in statements, so that the planner knows it.
REACH: Final = 10_000


class Found(NamedTuple, Generic[R, P]):
    """Rows of a page, one more than it has place for if more follow."""

    rows: list[R]
    #: Where the look ended although more may follow; None if it was not cut short.
    reached: P | None = None


def within_reach(
    page: sa.Select[Any],
    order: Mapping[str, sa.Column[Any]],
    kept: sa.ColumnElement[bool] | None,
    limit: int | sa.BindParameter[int],
) -> sa.Select[Any]:
    """The rows of `page` that are `kept`, in this order, and besides the last one that is looked at.

    Args:
        order: the name in the page → the column.
        kept: None if all are. Then no more are looked at than the page has.
    """
    if kept is None:
        page = page.add_columns(sa.true().label("is_kept"), sa.literal_column("0", sa.Integer).label("walked"))
        return page.order_by(*order.values()).limit(limit)
    reach = sa.literal_column(str(REACH), sa.Integer)
    walked = (
        page.add_columns(
            kept.label("is_kept"), sa.func.row_number().over(order_by=list(order.values())).label("walked")
        )
        .order_by(*order.values())
        .limit(reach)
        .subquery("walked")
    )
    return (
        sa.select(walked)
        .where(sa.or_(walked.c.is_kept, walked.c.walked == reach))
        .order_by(*(walked.c[name] for name in order))
        .limit(limit)
    )


def is_end_of_reach(row: sa.Row[Any]) -> bool:
    """Whether a row of `within_reach` is the last one that was looked at."""
    return bool(row.walked == REACH)
