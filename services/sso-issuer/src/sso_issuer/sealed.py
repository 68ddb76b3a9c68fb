"""What of the issuer is sealed: the audit of redirects and that of the authorities."""

from shared.seals.rows import SealedTable

from sso_issuer.settings import RetentionSettings
from sso_issuer.tables import authority_events, issuances


def sealed_tables(settings: RetentionSettings) -> tuple[SealedTable, ...]:
    """Both audits; retention deletes old rows of them."""
    issued, told = issuances.c, authority_events.c
    return (
        SealedTable(
            table=issuances,
            at=issued.issued_at,
            columns={
                1: (
                    issued.tenant,
                    issued.jti,
                    issued.user_id,
                    issued.vendor_id,
                    issued.delivery,
                    issued.algorithm,
                    issued.kid,
                    issued.points,
                    issued.client_id,
                    issued.request_id,
                    issued.audience,
                    issued.token_digest,
                    issued.issued_at,
                    issued.expires_at,
                )
            },
            kept=settings.issuances_kept,
        ),
        SealedTable(
            table=authority_events,
            at=told.happened_at,
            columns={
                1: (
                    told.tenant,
                    told.event_id,
                    told.event,
                    told.reason,
                    told.client_id,
                    told.subject,
                    told.jti,
                    told.token_client_id,
                    told.grant_type,
                    told.scope,
                    told.consent_version,
                    told.kid,
                    told.request_id,
                    told.happened_at,
                    told.expires_at,
                )
            },
            kept=settings.authority_events_kept,
        ),
    )
