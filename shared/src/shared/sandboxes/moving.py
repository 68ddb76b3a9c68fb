"""The times of a sandbox's rows, moved by an advance of its clock: expressions for an UPDATE."""

from typing import Any

import sqlalchemy as sa

from shared.sandboxes.domain import Advance


def moved(time: sa.ColumnElement[Any], advance: Advance) -> sa.ColumnElement[Any]:
    """The time less the advance.

    Counted in UTC, where it depends on no session's time zone: tables that are distributed take nothing else in SET.
    """
    return sa.func.timezone("UTC", sa.func.timezone("UTC", time) - advance.amount)


def ending_earlier(end: sa.ColumnElement[Any], advance: Advance) -> sa.ColumnElement[Any]:
    """The end less the advance; what has not ended yet does not end before the present moment."""
    return sa.func.greatest(moved(end, advance), sa.func.least(end, sa.func.statement_timestamp()))
