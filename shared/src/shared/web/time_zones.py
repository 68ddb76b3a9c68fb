"""In which time zone a tenant's calendar runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class TimeZones:
    """The zone of each tenant that has one of its own; `default` is that of all others."""

    default: ZoneInfo
    tenants: Mapping[str, ZoneInfo] = field(default_factory=dict)

    def of(self, tenant: str) -> ZoneInfo:
        return self.tenants.get(tenant, self.default)
