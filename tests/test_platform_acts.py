"""partner-onboarding takes exactly the acts that the other services tell."""

import pytest
from partner_onboarding.register.acts import OF_SERVICE
from platform_testing.acts import noted_actions


@pytest.mark.parametrize("service", sorted(OF_SERVICE))
def test_the_audit_takes_what_a_service_tells_and_nothing_else(service: str) -> None:
    assert noted_actions(service.replace("-", "_")) == set(OF_SERVICE[service])
