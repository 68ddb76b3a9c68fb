"""How what people write in a request gets into the tables and out again: sealed, bound to its tenant and request."""

from dataclasses import asdict

import orjson
from shared.sealing import Sealer

from partner_onboarding import contexts
from partner_onboarding.third_parties.integrations.domain import Decision, IntegrationRequest, Particulars, Wish
from partner_onboarding.third_parties.integrations.store import SealedRequest


class RequestSeals:
    """Seals and opens requests."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, tenant: str, request_id: str, particulars: Particulars) -> bytes:
        return self._sealer.seal(orjson.dumps(asdict(particulars)), contexts.integration_request(tenant, request_id))

    def seal_reason(self, tenant: str, request_id: str, reason: str) -> bytes:
        return self._sealer.seal(reason.encode(), contexts.reason(tenant, request_id))

    def open(self, sealed: SealedRequest) -> IntegrationRequest:
        """Raises shared.sealing.CannotOpen when the row was tampered with or its key is gone."""
        context = contexts.integration_request(sealed.tenant, sealed.request_id)
        particulars = Particulars(**orjson.loads(self._sealer.open(sealed.particulars, context)))
        decision = None
        if sealed.decided_at is not None and sealed.decided_by is not None:
            reason = (
                self._sealer.open(sealed.reason, contexts.reason(sealed.tenant, sealed.request_id)).decode()
                if sealed.reason
                else None
            )
            decision = Decision(sealed.decided_at, sealed.decided_by, sealed.client_id, reason)
        return IntegrationRequest(
            tenant=sealed.tenant,
            request_id=sealed.request_id,
            wish=Wish(particulars, sealed.scopes, sealed.redirect_uris),
            state=sealed.state,
            submitted_at=sealed.submitted_at,
            decision=decision,
        )
