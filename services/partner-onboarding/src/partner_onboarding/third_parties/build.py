"""Builds what third parties need, over the register."""

from dataclasses import dataclass

from partner_onboarding.register.build import Register
from partner_onboarding.third_parties.consents.service import Consents
from partner_onboarding.third_parties.integrations.service import Integrations


@dataclass(frozen=True, slots=True)
class ThirdParties:
    """The use cases about third parties."""

    integrations: Integrations
    consents: Consents


def build_third_parties(register: Register) -> ThirdParties:
    return ThirdParties(
        integrations=Integrations(
            register.database,
            register.clients,
            register.sealer,
            public_url=register.settings.public_url,
            plain_http=register.allows_plain_http,
        ),
        consents=Consents(register.database, register.profiles),
    )
