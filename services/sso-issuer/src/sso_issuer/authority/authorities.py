"""The tenants that have an authority, and the authority's metadata."""

import time
from collections.abc import Callable
from typing import Any, Final

from shared.bounded import Bounded
from shared.db import Database
from shared.identifiers import is_tenant

from sso_issuer.authority import store
from sso_issuer.authority.assertions import ALGORITHMS
from sso_issuer.authority.client_authentication import METHODS
from sso_issuer.authority.domain import CONSENTABLE_SCOPES, GrantType
from sso_issuer.keys.domain import Algorithm, issuer_of
from sso_issuer.keys.published import TenantNotFound
from sso_issuer.keys.service import Keys
from sso_issuer.register_client import RegisterClient

#: How long (seconds) a missing tenant is remembered; an existing one is remembered for good.
_UNKNOWN_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000


class Authorities:
    """The tenants' authorities."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        register: RegisterClient,
        *,
        public_url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keys = keys
        self._register = register
        self._public_url = public_url
        self._known: Bounded[str, bool] = Bounded(_REMEMBERED)
        self._unknown: Bounded[str, bool] = Bounded(_REMEMBERED, seconds=_UNKNOWN_SECONDS, clock=clock)

    async def check(self, tenant: str) -> None:
        """Passes if the tenant has keys here, or if the register knows it; then its first key is made.

        Raises:
            TenantNotFound: there is no such tenant.
            Unavailable: the database or the register cannot be asked.
        """
        if tenant in self._known:
            return
        if not is_tenant(tenant) or tenant in self._unknown:
            raise TenantNotFound
        async with self._database.transaction() as connection:
            is_known = await store.has_keys(connection, tenant)
        if not is_known:
            if not await self._register.has_tenant(tenant):
                self._unknown.keep(tenant, True)
                raise TenantNotFound
            # The key set that the metadata names must exist before anything is signed.
            await self._keys.ensure(tenant, Algorithm.ES256)
        self._known.keep(tenant, True)

    def issuer(self, tenant: str) -> str:
        return issuer_of(self._public_url, tenant)

    def token_endpoint(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/token"

    def metadata(self, tenant: str) -> dict[str, Any]:
        """RFC 8414, with the two fields that OpenID Connect Discovery requires."""
        issuer = self.issuer(tenant)
        proofs = list(METHODS)
        algorithms = list(ALGORITHMS)
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth/authorize",
            "token_endpoint": self.token_endpoint(tenant),
            "introspection_endpoint": f"{issuer}/oauth/introspect",
            "revocation_endpoint": f"{issuer}/oauth/revoke",
            "jwks_uri": f"{issuer}/jwks.json",
            "scopes_supported": list(CONSENTABLE_SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": [grant_type.value for grant_type in GrantType],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": proofs,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": proofs,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": proofs,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [algorithm.value for algorithm in Algorithm],
        }
