"""The journey of points, through the real interfaces: earned, carried to the shop, spent; and given back.

Every step states its expected result, and the journey fails at the first difference. It starts from the present
balance, so it can be repeated.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from local_platform.console import Terminal

EARNED = 500
SPENT = 300


class JourneyFailed(Exception):
    """A result differs from the expected one; the message says which."""


@dataclass(frozen=True)
class Balance:
    available: int
    held: int
    total: int

    def changed(self, available: int = 0, held: int = 0) -> "Balance":
        return Balance(self.available + available, self.held + held, self.total + available + held)


class Journey:
    """One person's way through a running platform, of which `description` (`demo.json`) tells all that is needed.

    It is the last of the users who travels, so that the others' balances are left alone.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        terminal: Terminal,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = transport
        self._gateway = description["gateway"]
        self._platform = description["clients"]["platform"]
        self._vendor = description["clients"]["vendor"]
        traveller = description["users"][-1]
        self._user_id, self._name = traveller["user_id"], traveller["firstname"]
        self._terminal = terminal
        self._run = uuid.uuid4().hex[:12]

    async def make(self) -> None:
        """Plays all of it.

        Raises:
            JourneyFailed: an answer or a balance is not what it must be.
        """
        async with httpx.AsyncClient(timeout=30.0, trust_env=False, transport=self._transport) as http:
            self._http = http
            start = await self._balance("The platform looks at the account")
            await self._earn(start)
            await self._visit_shop()
            await self._spend()
            await self._think_better_of_it()
            await self._want_too_much()
            end = await self._balance("The account at the end")
        _must("the balance at the end", end, start.changed(available=EARNED - SPENT))
        self._terminal.say("")
        self._terminal.balance(self._name, vars(start), vars(end))

    async def _earn(self, start: Balance) -> None:
        credit = {"points": EARNED, "reference": f"journey-{self._run}", "reason": "a purchase"}
        path = f"/v1/accounts/{self._user_id}/credits"
        self._terminal.step(f"{self._name} earns {EARNED} points; the reference makes a repeat harmless")
        await self._ask(self._platform, "POST", path, credit, must=201)
        await self._ask(self._platform, "POST", path, credit, must=200)
        earned = await self._balance("So the account holds more now, once")
        _must("the balance after the credit", earned, start.changed(available=EARNED))
        self._earned = earned

    async def _visit_shop(self) -> None:
        self._terminal.step("The “Redeem” button: the platform signs who comes, and how many points there are")
        redirect = await self._ask(
            self._platform,
            "POST",
            "/sso/v1/redirects",
            {"user_id": self._user_id, "vendor_id": self._vendor["vendor_id"]},
            must=201,
        )
        claims = _claims(redirect["token"])
        self._terminal.say(f"    the token says  {json.dumps(claims, ensure_ascii=False)}")
        _must("the points in the token", claims["points"], self._earned.available)
        self._terminal.step("The browser goes to the shop, which checks signature and life time, and shows the points")
        shown = await self._call("GET", redirect["url"], "GET <the url above>", None, must=200)
        _must("the points that the shop shows", shown["points"], self._earned.available)
        _must("whom the shop greets", shown["user"]["userid"], self._user_id)

    async def _spend(self) -> None:
        self._terminal.step(f"Checkout, phase 1: the shop asks to hold {SPENT} points")
        transaction = f"journey-{self._run}-order"
        held = await self._commit(transaction, SPENT, must=200)
        _must("the state of the transaction", held["state"], "held")
        balance = await self._balance("Held points cannot be spent elsewhere")
        _must("the balance while held", balance, self._earned.changed(available=-SPENT, held=SPENT))
        self._terminal.step("The reward is on its way. Phase 2: the shop confirms, the points are gone for good")
        confirmed = await self._eai("confirm", {"transactionid": transaction}, must=200)
        _must("the state of the transaction", confirmed["state"], "confirmed")
        self._spent = await self._balance("The account after the purchase")
        _must("the balance after the purchase", self._spent, self._earned.changed(available=-SPENT))

    async def _think_better_of_it(self) -> None:
        self._terminal.step("A second order, but the reward is out of stock: the shop rolls back")
        transaction = f"journey-{self._run}-out-of-stock"
        await self._commit(transaction, SPENT, must=200)
        rolled_back = await self._eai("rollback", {"transactionid": transaction}, must=200)
        _must("the state of the transaction", rolled_back["state"], "rolled_back")
        balance = await self._balance("Nothing was lost")
        _must("the balance after the rollback", balance, self._spent)
        self._terminal.step("A late duplicate of that order's first call cannot hold points again")
        late = await self._commit(transaction, SPENT, must=409)
        _must("the code of the refusal", late["code"], "transaction_rolled_back")

    async def _want_too_much(self) -> None:
        self._terminal.step("And nobody spends more than there is")
        refused = await self._commit(f"journey-{self._run}-too-much", self._spent.available + 1, must=400)
        _must("the code of the refusal", refused["code"], "insufficient_points")

    async def _balance(self, why: str) -> Balance:
        self._terminal.step(why)
        answer = await self._ask(self._platform, "GET", f"/v1/accounts/{self._user_id}", None, must=200)
        return Balance(answer["available"], answer["held"], answer["total"])

    async def _commit(self, transaction: str, points: int, must: int) -> Any:
        description = "redemption for a demonstration"
        body = {"pointstodeduct": points, "transactionid": transaction, "description": description}
        return await self._eai("commit", body, must=must)

    async def _eai(self, operation: str, body: dict[str, Any], must: int) -> Any:
        whole = {"userid": self._user_id, **body}
        return await self._ask(self._vendor, "POST", f"/eai/v1/points?{operation}", whole, must=must)

    async def _ask(self, client: Mapping[str, Any], method: str, path: str, body: Any, *, must: int) -> Any:
        auth = client["client_id"], client["client_secret"]
        return await self._call(method, self._gateway + path, f"{method} {path}", body, must=must, auth=auth)

    async def _call(
        self, method: str, url: str, shown: str, body: Any, *, must: int, auth: tuple[str, str] | None = None
    ) -> Any:
        headers = {"Accept": "application/json"}
        try:
            response = await self._http.request(
                method, url, json=body, headers=headers, auth=auth or httpx.USE_CLIENT_DEFAULT
            )
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise JourneyFailed(f"{shown} gave no answer that can be read: {type(error).__name__} {error}") from None
        self._terminal.call(shown, body, response.status_code, answer)
        if response.status_code != must:
            raise JourneyFailed(f"{shown} must answer {must}, but answered {response.status_code}: {answer}")
        return answer


def _claims(token: str) -> dict[str, Any]:
    """The claims, for showing: it is the shop that verifies them."""
    try:
        part = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        raise JourneyFailed("the token is not a JWT") from None
    return claims


def _must(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise JourneyFailed(f"{what} must be {expected}, but is {found}")
