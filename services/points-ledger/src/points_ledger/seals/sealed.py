"""What of the ledger is sealed."""

from typing import Final

from shared.seals.rows import SealedTable

from points_ledger.tables import accounts, entries

_COLUMNS = entries.c
#: The reason is sealed in clear: the API says that it must name no person. Who has to change one all the same breaks
#: the seal of this entry for good, and `verify` names it.
SEALED_ENTRIES: Final = SealedTable(
    table=entries,
    at=_COLUMNS.created_at,
    columns={
        1: (
            _COLUMNS.tenant,
            _COLUMNS.user_id,
            _COLUMNS.number,
            _COLUMNS.kind,
            _COLUMNS.points,
            _COLUMNS.balance,
            _COLUMNS.source,
            _COLUMNS.reference,
            _COLUMNS.reason,
            _COLUMNS.created_at,
            _COLUMNS.client_id,
            _COLUMNS.subject,
            _COLUMNS.request_id,
        )
    },
    # Every batch locks its accounts, and takes the time of its entries after that.
    taken_under=accounts,
    taken_in_modes=("RowShareLock", "RowExclusiveLock"),
)
