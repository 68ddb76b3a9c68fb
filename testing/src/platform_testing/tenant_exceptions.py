"""Which statements may do what no other may where the tables are distributed by tenant, and why.

They are named by the function that sends them: `module:function`.
"""

from typing import Final

#: Small tables that every server has, since they are looked up without a tenant.
FOR_ALL_TENANTS: Final = frozenset(
    {"partner_onboarding.tenants", "partner_onboarding.clients", "partner_onboarding.client_secrets"}
)

#: They concern several tenants: no request waits for them, but for those that say so.
ACROSS_TENANTS: Final[dict[str, str]] = {}

#: To be changed: Citus would refuse them, or a request would wait for every server.
NOT_YET: Final[dict[str, str]] = {}
