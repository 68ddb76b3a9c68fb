"""The authorization endpoint: leads to the page on which the tenant admin decides."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from shared.errors import Malformed
from shared.web.addresses import is_registered

from sso_issuer.authority.domain import InvalidRequest
from sso_issuer.authority.forms import needed
from sso_issuer.register_client import RegisterClient

MAX_STATE_CHARACTERS: Final = 4096


class UnsupportedResponseType(Malformed):
    code = "unsupported_response_type"

    def __init__(self) -> None:
        super().__init__("The response type here is code.")


class ConsentRequests:
    """Redirects a tenant admin's browser."""

    def __init__(self, register: RegisterClient) -> None:
        self._register = register

    async def destination(self, tenant: str, issuer: str, params: Mapping[str, str]) -> str:
        """The target of the redirect: the page that asks for consent, or the client with an error.

        An error goes to the client only at a registered address; otherwise the person sees a page.

        Raises:
            InvalidRequest: the tenant has no such client, or the client no such address.
            Unavailable: the register cannot be asked.
        """
        client_id = needed(params, "client_id")
        client = await self._register.find_client(client_id)
        if client is None or client.tenant != tenant or client.kind != "third_party":
            raise InvalidRequest("There is no such client in this tenant.")
        redirect_uri = needed(params, "redirect_uri")
        if not any(is_registered(redirect_uri, known) for known in client.redirect_uris):
            raise InvalidRequest("The redirect_uri is not one that this client has registered.")
        if not is_state(params.get("state", "")):
            # Said here and not at the client, which could not tell whose answer it is without its state.
            raise InvalidRequest(f"The state has at most {MAX_STATE_CHARACTERS} printable characters.")
        try:
            _check(params)
        except Malformed as refusal:
            error = {"error": refusal.stable_code, "error_description": refusal.message, "iss": issuer}
            if "state" in params:
                error["state"] = params["state"]
            return _with_query(redirect_uri, error)
        passed_on = {name: value for name, value in params.items() if name != "client_id"}
        # A path only, so that a browser stays on https.
        return _with_query(f"/setup/{quote(client_id, safe='')}", passed_on)


def is_state(state: str) -> bool:
    """Whether a state can come back exactly as it was sent."""
    return len(state) <= MAX_STATE_CHARACTERS and state.isprintable()


def _check(params: Mapping[str, str]) -> None:
    if params.get("response_type") is None:
        raise InvalidRequest("The parameter response_type is missing.")
    if params["response_type"] != "code":
        raise UnsupportedResponseType
    if "code_challenge" not in params:
        raise InvalidRequest("PKCE is required: the parameter code_challenge is missing.")
    # The default is `plain` (RFC 7636, 4.3).
    if params.get("code_challenge_method") != "S256":
        raise InvalidRequest("The code_challenge_method must be S256.")


def _with_query(url: str, params: Mapping[str, str]) -> str:
    """`url` with `params` after its own query, which stays unchanged."""
    own_query = url.partition("?")[2]
    joint = "?" if "?" not in url else "&" if own_query and not own_query.endswith("&") else ""
    return f"{url}{joint}{urlencode(params, quote_via=quote)}"
