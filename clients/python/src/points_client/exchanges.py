"""Conversations with the platform, without a network.

An exchange is a generator: it yields requests and pauses, and gets answers. `clients` drives it, with or without
asyncio, so that what to ask, when to ask again and what an answer means are written once.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import IO, Any, Final, TypeVar, cast

T = TypeVar("T")
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
#: 4xx that say "not now" rather than "no".
_NOT_NOW: Final = frozenset({408, 425, 429})
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Request:
    """`path` has its query; the body is `json`, or `lines`: a file that is read from its beginning each time.

    `timeout_seconds` is for the answer, where it needs longer than others.
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: IO[bytes] | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the answer; empty where there is none."""
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Act:
    """Something of yours that is done in between, such as writing an order down. An asyncio client may await it."""

    call: Callable[[], Any]


#: An answer is sent back for a request (None: there was none), and the result for an act.
Exchange = Generator[Request | Pause | Act, Any, T]


class Unanswered(Exception):
    """The platform gave no usable answer, again and again. What was asked for may or may not have happened."""


class Refused(Exception):
    """The platform said no.

    Attributes:
        code: stable; `/developers/codes` explains each.
        state: where the transaction stands, if the platform told it.
        body: all that it said.
    """

    def __init__(self, answer: Answer) -> None:
        body = answer.body
        self.status = answer.status
        self.code = str(body.get("code", ""))
        self.state = body.get("state")
        self.body = body
        said = body.get("detail") or body.get("message") or "no reason given"
        super().__init__(f"{answer.status} {self.code}: {said}")


def asked(request: Request, *, attempts: int = 5) -> Exchange[Answer]:
    """The answer, refusals too. It is asked again while there is none: no connection, a time-out, 5xx, 408, 425, 429.

    Raises:
        Unanswered: so many attempts brought nothing, or the platform asks for a longer pause than anyone here waits.
    """
    trouble = ""
    for attempt in range(1, attempts + 1):
        answer: Answer | None = yield request
        if answer is not None and answer.status < 500 and answer.status not in _NOT_NOW:
            return answer
        trouble = "no answer" if answer is None else f"status {answer.status}"
        wished = 0.0 if answer is None else _wished_pause(answer)
        if wished > LONGEST_PAUSE_SECONDS:
            break
        if attempt < attempts:
            # Half of the pause is chance, so that many callers do not come back in one instant.
            longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            yield Pause(max(wished, _random.uniform(longest / 2, longest)))
    raise Unanswered(f"{request.method} {request.path}: {trouble}")


def granted(request: Request, *, attempts: int = 5) -> Exchange[Answer]:
    """The same, for those who need a yes.

    Raises:
        Refused: a 4xx.
        Unanswered: as `asked`.
    """
    answer = yield from asked(request, attempts=attempts)
    if answer.status >= 400:
        raise Refused(answer)
    return answer


def told(shape: type[T], request: Request) -> Exchange[T]:
    """The body of a yes, of the shape that the OpenAPI document promises. Members that are newer than it come along.

    Raises:
        Refused, Unanswered: as `granted`.
    """
    answer = yield from granted(request)
    return cast(T, answer.body)


def once(method: str, path: str, body: Mapping[str, Any] | None, *key: str) -> Request:
    """A request that changes something, and may be repeated because of its Idempotency-Key.

    Args:
        key: any text; the same one for another method or path is another key.
    """
    # A digest, since a header takes no more than 255 characters of ASCII.
    digest = hashlib.sha256(json.dumps([method, path, *key]).encode()).hexdigest()
    return Request(method, path, body, {"Idempotency-Key": f'"{digest}"'})


def fresh_key() -> str:
    """A key of one call alone: its retries are repetitions, and every other call is another one."""
    return secrets.token_hex(16)


def _wished_pause(answer: Answer) -> float:
    """Seconds of `Retry-After`: a number, or a date."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return 0.0
