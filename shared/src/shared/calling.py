"""Calls to another service of the platform, with time-out, service token and request id.

    path = f"/internal/tenants/{tenant}/accounts/{named(user_id)}"
    account = await ledger.find(Account, path, absent="account_not_found")
    session = await onboarding.find_by(Session, "/internal/sessions/check", {"session": session}, absent="no_session")
    origin = await onboarding.read(Origin, "/internal/origins", {"origin": origin})

An answer is read into a pydantic model that names the fields which this service needs, and no more.

Never call from inside a database transaction: the other service may be slow, or wait for this one.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
import orjson
import structlog
from prometheus_client import Counter, Histogram
from pydantic import BaseModel, ValidationError

from shared.errors import Unavailable
from shared.internal_http import HandedTransport, HttpConnections, NoAnswer, Reply
from shared.request_frame import current_request
from shared.service_tokens import ServiceTokens
from shared.tracing import traces

M = TypeVar("M", bound=BaseModel)

_log = structlog.get_logger("calling")
_seconds = Histogram(
    "neighbour_call_seconds",
    "How long another service took to answer, a second attempt included.",
    ["callee"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
_failures = Counter(
    "neighbour_call_failures", "Calls to another service that had no answer. Alarm when it goes on.", ["callee"]
)
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
#: Before the second attempt; at random, so that callers do not all return at the same moment.
_PAUSE_SECONDS: Final = (0.02, 0.1)


class _Passing(Exception):
    """This attempt failed; the next one may not."""


class _Problem(BaseModel):
    code: str


def named(identifier: str) -> str:
    """An identifier as one segment of a path."""
    return quote(identifier, safe="")


class ServiceClient:
    """A client for one other service.

    Args:
        base_url: its internal address.
        audience: its name, for the service token.
        transport: handed in by tests, `httpx.ASGITransport` of the other's real app.
        clock: seconds, monotonic; handed in by tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        audience: str,
        service_tokens: ServiceTokens,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience = audience
        self._seconds = _seconds.labels(audience)
        self._clock = clock
        self._answers: bool | None = None
        self._since = clock()
        self._tokens = service_tokens
        self._http: HttpConnections | HandedTransport = (
            HttpConnections(base_url, timeout_seconds=timeout_seconds)
            if transport is None
            else HandedTransport(transport, base_url)
        )

    @property
    def name(self) -> str:
        return self._audience

    def standing(self) -> dict[str, object]:
        """Whether the service answered the last call, and for how many seconds it has been so; None before a call."""
        return {"answers": self._answers, "for_seconds": round(self._clock() - self._since, 3)}

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Reply:
        """The answer, if its status is below 500. A transient failure is retried once.

        Raises:
            Unavailable: the service does not answer, or not with sense.
        """
        return await self._call("GET", path, may_repeat=True, params=params)

    async def ask(self, path: str, json: Mapping[str, Any]) -> Reply:
        """A POST that only asks, since a secret must not stand in a URL. Retried like a GET."""
        return await self._call("POST", path, may_repeat=True, json=json)

    async def post(self, path: str, json: Mapping[str, Any], *, idempotency_key: str | None = None) -> Reply:
        """A POST that changes something. Retried only if an idempotency key makes that safe."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return await self._call("POST", path, may_repeat=idempotency_key is not None, json=json, headers=headers)

    async def read(self, model: type[M], path: str, params: Mapping[str, str] | None = None) -> M:
        """An answer that must exist.

        Raises:
            Unavailable: the service does not answer, or not with sense.
        """
        return self.understand(model, await self.get(path, params))

    async def find(
        self, model: type[M], path: str, params: Mapping[str, str] | None = None, *, absent: str
    ) -> M | None:
        """An answer that may be missing: None if the service answers 404 with the code `absent`.

        A 404 with another code, or without one, comes from a proxy or means a wrong path; it does not mean that the
        thing is missing.

        Raises:
            Unavailable: the service does not answer, or not with sense.
        """
        answer = await self.get(path, params)
        return None if self.says(answer, HTTPStatus.NOT_FOUND, absent) else self.understand(model, answer)

    async def find_by(
        self, model: type[M], path: str, json: Mapping[str, Any], *, absent: str, malformed_is_absent: bool = False
    ) -> M | None:
        """The same by a POST that only asks, for what has no place in a URL.

        Args:
            malformed_is_absent: what the service calls malformed (400) cannot exist there.
        """
        answer = await self.ask(path, json)
        if malformed_is_absent and answer.status_code == HTTPStatus.BAD_REQUEST:
            return None
        return None if self.says(answer, HTTPStatus.NOT_FOUND, absent) else self.understand(model, answer)

    def says(self, answer: Reply, status: int, code: str) -> bool:
        """Whether the service itself refused, with this status and this code."""
        return answer.status_code == status and self._parse(_Problem, answer).code == code

    def understand(self, model: type[M], answer: Reply, *, status: int = HTTPStatus.OK) -> M:
        """The body of an answer with this status.

        Raises:
            Unavailable: it has another status, or makes no sense.
        """
        if answer.status_code != status:
            raise Unavailable(log=f"{self._audience}: status {answer.status_code}")
        return self._parse(model, answer)

    async def aclose(self) -> None:
        await self._http.aclose()

    def _parse(self, model: type[M], answer: Reply) -> M:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            # The names of the fields only: their values are somebody's data.
            fields = sorted({".".join(map(str, detail["loc"])) for detail in error.errors()})
            what = f"{self._audience}: status {answer.status_code}, cannot read {model.__name__} {fields}"
            raise Unavailable(log=what) from None

    async def _call(
        self,
        method: str,
        path: str,
        *,
        may_repeat: bool,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> Reply:
        sent = {"Authorization": f"Bearer {self._tokens.mint(self._audience)}", **(headers or {})}
        context = current_request.get()
        if context is not None:
            sent |= {"X-Request-Id": context.request_id, "traceparent": context.traceparent}
        if not traces.is_on:
            return await self._answer_to(method, path, sent, may_repeat=may_repeat, params=params, json=json)
        with traces.call(self._audience, method) as traceparent:
            if traceparent is not None:
                sent["traceparent"] = traceparent
            return await self._answer_to(method, path, sent, may_repeat=may_repeat, params=params, json=json)

    async def _answer_to(
        self,
        method: str,
        path: str,
        sent: Mapping[str, str],
        *,
        may_repeat: bool,
        params: Mapping[str, str] | None,
        json: Mapping[str, Any] | None,
    ) -> Reply:
        body = None if json is None else orjson.dumps(json)

        async def attempt() -> Reply:
            try:
                answer = await self._http.send(method, path, sent, params=params, body=body)
            except NoAnswer as error:
                raise _Passing(str(error)) from error
            if answer.status_code >= _SERVER_ERROR or answer.status_code == _TOO_MANY:
                raise _Passing(f"status {answer.status_code}")
            return answer

        began = self._clock()
        try:
            answer = await (self._twice(attempt) if may_repeat else attempt())
        except _Passing as error:
            trouble = str(error)
        except TimeoutError as error:
            # The time is used up; a second attempt would only delay the caller.
            trouble = repr(error)
        else:
            self._note(answers=True)
            self._seconds.observe(self._clock() - began)
            return answer
        self._note(answers=False)
        _failures.labels(self._audience).inc()
        _log.warning("no answer from another service", callee=self._audience, method=method, trouble=trouble)
        raise Unavailable(log=f"{self._audience}: {trouble}")

    async def _twice(self, attempt: Callable[[], Awaitable[Reply]]) -> Reply:
        try:
            return await attempt()
        except _Passing:
            await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  # nosec B311
        return await attempt()

    def _note(self, *, answers: bool) -> None:
        if answers is not self._answers:
            self._answers, self._since = answers, self._clock()
