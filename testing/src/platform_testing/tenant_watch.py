"""Holds every statement that the services send in tests against the rules for tables distributed by tenant."""

from typing import Final

import pytest
from local_platform.services import SERVICES
from shared.tenant_statements import ON_ONE_SERVER

from platform_testing.sent_statements import Sent
from platform_testing.tenant_exceptions import ACROSS_TENANTS, FOR_ALL_TENANTS
from platform_testing.tenant_rules import Kind, Layout, breaches

#: By `distribute`. A service's tests hold what its functions carry out against the rules.
_MAKES_FUNCTION: Final = "CREATE OR REPLACE FUNCTION"
_SCHEMAS: Final = frozenset(service.package for service in SERVICES)


class TenantWatch:
    """One in a session."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def keep(self, sent: Sent) -> None:
        """Judges a statement."""
        if sent.statement.rstrip().endswith(ON_ONE_SERVER) or sent.statement.startswith(_MAKES_FUNCTION):
            return
        if not any(f"{schema}." in sent.statement for schema in _SCHEMAS):
            return
        self._found += [
            f"{sent.place}\n  {breach}\n  {' '.join(sent.statement.split())}"
            for breach in breaches(sent.statement, LAYOUT)
            if not (breach.kind is Kind.CROSSES and sent.place in ACROSS_TENANTS)
        ]

    def report(self) -> None:
        """Fails if a statement broke a rule since the last report."""
        found, self._found = self._found, []
        if found:
            pytest.fail("\n".join(["These statements could not run on tables distributed by tenant:", *found]), False)


def _lies_with_its_tenant(name: str) -> bool:
    schema, _, table = name.partition(".")
    return schema in _SCHEMAS and table != "alembic_version" and name not in FOR_ALL_TENANTS


#: Of the tables of all services.
LAYOUT: Final = Layout(_lies_with_its_tenant, FOR_ALL_TENANTS.__contains__)
