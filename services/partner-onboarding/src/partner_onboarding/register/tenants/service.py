"""The use cases of tenants."""

from collections.abc import Iterable

from shared.db import Database
from shared.sandboxes.service import Sandboxes
from shared.web.addresses import bare_origin

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import SHELL, Change
from partner_onboarding.register.tenants import store
from partner_onboarding.register.tenants.domain import Tenant, TenantNotFound, checked


class Tenants:
    """The tenants of this platform."""

    def __init__(self, database: Database, sandboxes: Sandboxes) -> None:
        self._database = database
        self._sandboxes = sandboxes

    async def create(
        self, tenant: str, name: str, allowed_origins: Iterable[str], *, sandbox: bool = False
    ) -> tuple[Tenant, bool]:
        """The tenant and whether it is new; an existing one stays unchanged, and what it is.

        Raises:
            MalformedTenant: naming what is wrong.
            SandboxesNotAllowed: production has none unless a setting says so.
        """
        wanted = checked(tenant, name, allowed_origins)
        async with self._database.transaction() as connection:
            created = await store.add_tenant(connection, wanted)
            if created:
                after: dict[str, object] = {"name": wanted.name, "allowed_origins": list(wanted.allowed_origins)}
                if sandbox:
                    await self._sandboxes.found(connection, tenant)
                    after["sandbox"] = True
                change = Change(None, after)
                await audit_store.add(connection, tenant, SHELL, "tenant_created", tenant, change=change)
            found = await store.find_tenant(connection, tenant)
        return (wanted if found is None else found), created

    async def get(self, tenant: str) -> Tenant:
        """Raises TenantNotFound."""
        async with self._database.transaction() as connection:
            found = await store.find_tenant(connection, tenant)
        if found is None:
            raise TenantNotFound("There is no such tenant.")
        return found

    async def is_allowed_origin(self, origin: str) -> bool:
        """Whether `origin`, as a browser sends it, is a configured one of any tenant."""
        normal = bare_origin(origin)
        if normal is None:
            return False
        async with self._database.transaction() as connection:
            return await store.is_allowed_origin(connection, normal)
