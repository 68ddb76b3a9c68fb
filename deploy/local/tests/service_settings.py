"""The settings of each service, which what is deployed must name as they are."""

import partner_onboarding.settings
import points_ledger.settings
import sso_issuer.settings
import token_service.settings
from local_platform.services import Service

SETTINGS = {
    "points-ledger": points_ledger.settings.Settings,
    "sso-issuer": sso_issuer.settings.Settings,
    "partner-onboarding": partner_onboarding.settings.Settings,
    "token-service": token_service.settings.Settings,
}


def port_of(service: Service) -> int:
    """The port on which the service listens unless a setting says otherwise."""
    return int(SETTINGS[service.name].model_fields["port"].default)
