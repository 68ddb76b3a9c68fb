"""What of the register is sealed: its audit."""

from shared.seals.rows import SealedTable

from partner_onboarding.register.tables import audit_entries
from partner_onboarding.settings import AuditSettings


def sealed_audit(settings: AuditSettings) -> SealedTable:
    """The audit; retention deletes old rows of it."""
    columns = audit_entries.c
    return SealedTable(
        table=audit_entries,
        at=columns.recorded_at,
        columns={
            1: (
                columns.tenant,
                columns.entry_id,
                columns.recorded_at,
                columns.actor_kind,
                columns.actor,
                columns.action,
                columns.subject,
                columns.details,
                columns.origin,
                columns.request_id,
            )
        },
        kept=settings.audit_kept,
    )
