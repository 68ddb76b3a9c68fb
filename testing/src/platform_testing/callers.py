"""Who calls a service in a test: clients of a register in memory, and the other services with their keys."""

import base64
import json
import secrets
from collections.abc import Collection, Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from local_platform.services import SERVICES
from pydantic import SecretStr
from shared.errors import Unavailable
from shared.register import Client
from shared.service_tokens import ServiceTokens


class FakeRegister:
    """A register of clients in memory; `is_down` makes it unreachable, `asked` counts."""

    def __init__(self) -> None:
        self.clients: dict[tuple[str, str], Client] = {}
        self.is_down = False
        self.asked = 0

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        self.asked += 1
        if self.is_down:
            raise Unavailable(log="the register is down")
        return self.clients.get((client_id, client_secret))

    async def check_all(self, credentials: Collection[tuple[str, str]]) -> dict[tuple[str, str], Client | None]:
        return {one: await self.check(*one) for one in credentials}

    def add(
        self,
        tenant: str,
        *scopes: str,
        vendor_id: str | None = None,
        ip_allow_list: tuple[str, ...] = (),
        client_id: str | None = None,
    ) -> dict[str, str]:
        """Registers a client and returns the headers with which it calls."""
        client_id = client_id or f"client-{secrets.token_hex(4)}"
        secret = secrets.token_urlsafe(32)
        self.clients[client_id, secret] = Client(
            client_id, tenant, frozenset(scopes), "first_party", vendor_id, ip_allow_list
        )
        return basic(client_id, secret)


def basic(client_id: str, client_secret: str) -> dict[str, str]:
    """The Authorization header of RFC 7617."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()}


class ServiceKeys:
    """A key pair for each service, as settings take them."""

    def __init__(self) -> None:
        self._private = {service.name: private_jwk(service.name) for service in SERVICES}
        public = [{key: value for key, value in jwk.items() if key != "d"} for jwk in self._private.values()]
        self.peers = json.dumps({"keys": public})

    def private(self, name: str) -> str:
        return json.dumps(self._private[name])

    def tokens(self, name: str) -> ServiceTokens:
        """Speaks as the service `name`."""
        return ServiceTokens(SecretStr(self.private(name)), self.peers)

    def headers(self, caller: str, callee: str) -> dict[str, str]:
        """With which `caller` calls an internal path of `callee`."""
        return {"Authorization": f"Bearer {self.tokens(caller).mint(callee)}"}


def private_jwk(name: str) -> Mapping[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()

    def encode(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    public = numbers.public_numbers
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": name,
        "alg": "ES256",
        "x": encode(public.x),
        "y": encode(public.y),
        "d": encode(numbers.private_value),
    }
