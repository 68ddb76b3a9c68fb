"""Tenants and their rules."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import Malformed, NotFound
from shared.web.addresses import bare_origin

from partner_onboarding.characters import hides_something, shows_something

MAX_NAME_CHARACTERS = 200
TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)


class MalformedTenant(Malformed):
    code = "malformed_tenant"


class TenantNotFound(NotFound):
    code = "tenant_not_found"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the platform; `allowed_origins` may call with a signed-in user's session (CORS).

    `is_sandbox`: made for tests, and never anything else.
    """

    tenant: str
    name: str
    allowed_origins: tuple[str, ...] = ()
    is_sandbox: bool = False


def checked(tenant: str, name: str, allowed_origins: Iterable[str]) -> Tenant:
    """The checked tenant, with its origins as browsers write them.

    Raises:
        MalformedTenant: naming what is wrong.
    """
    if not TENANT.fullmatch(tenant):
        raise MalformedTenant("A tenant is 1 to 40 lower-case letters, digits and hyphens.")
    # The name appears in headers of mails and on pages by which people decide whom to trust.
    name = name.strip()
    if len(name) > MAX_NAME_CHARACTERS or hides_something(name) or not shows_something(name):
        raise MalformedTenant(f"A tenant's name has 1 to {MAX_NAME_CHARACTERS} printable characters.")
    origins = []
    for given in allowed_origins:
        origin = bare_origin(given)
        if origin is None:
            raise MalformedTenant(
                "An origin is written as https://shop.example, without a path.", code="invalid_origin"
            )
        origins.append(origin)
    return Tenant(tenant, name.strip(), tuple(dict.fromkeys(origins)))
