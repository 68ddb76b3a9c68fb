"""Builds what third parties need, over the register."""

from dataclasses import dataclass

from shared.brief_notes import BriefNotes
from shared.rate_limits import RateLimit

from partner_onboarding.register.build import Register
from partner_onboarding.register.tables import idempotent_answers
from partner_onboarding.third_parties.consents.records import ConsentRecords
from partner_onboarding.third_parties.consents.service import Consents
from partner_onboarding.third_parties.handovers.service import KEPT_FOR as HANDOVERS_KEPT_FOR
from partner_onboarding.third_parties.handovers.service import Handovers
from partner_onboarding.third_parties.integrations.applications import Applications
from partner_onboarding.third_parties.integrations.seals import RequestSeals
from partner_onboarding.third_parties.integrations.service import Integrations

_HOUR_SECONDS = 3600
_DAY_SECONDS = 86_400
#: About requests that came in, to one address.
_MAILS_A_DAY = 5


@dataclass(frozen=True, slots=True)
class ThirdParties:
    """The use cases about third parties."""

    applications: Applications
    integrations: Integrations
    handovers: Handovers
    consents: Consents
    records: ConsentRecords


def build_third_parties(register: Register) -> ThirdParties:
    """The parts over the register."""
    settings, database, answers = register.settings, register.database, register.answers
    seals = RequestSeals(register.sealer)
    limit = RateLimit(register.counts, settings.integration_requests_per_address, _HOUR_SECONDS, "integration-requests")
    return ThirdParties(
        applications=Applications(
            database,
            answers,
            seals,
            register.notices,
            limit,
            RateLimit(register.counts, _MAILS_A_DAY, _DAY_SECONDS, "applicants-mails"),
            platform_tenant=settings.platform_tenant,
            plain_http=register.allows_plain_http,
        ),
        integrations=Integrations(
            database, answers, register.clients, seals, register.notices, public_url=settings.public_url
        ),
        handovers=Handovers(BriefNotes(database, idempotent_answers, register.sealer, "handover", HANDOVERS_KEPT_FOR)),
        consents=Consents(database, register.profiles),
        records=ConsentRecords(database),
    )
