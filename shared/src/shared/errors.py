"""Refusals: why a request is not carried out, in words for people and a code for programs.

A service defines each of its refusals as a subclass of one of the kinds here:

    class InsufficientPoints(Malformed):
        code = "insufficient_points"

The class carries the stable `code`; `shared.problems` makes status and body. The caller reads `message` and `members`;
only the log gets `log`.
"""

from typing import Any, ClassVar, Final, NamedTuple

BASIC_CHALLENGE: Final = 'Basic realm="points platform", charset="UTF-8"'
BEARER_CHALLENGE: Final = 'Bearer realm="points platform"'


class Refusal(Exception):
    """A request is refused.

    Args:
        message: one sentence for the person who reads the answer.
        code: overrides the class's stable code.
        log: a note for the operator that the caller must not see.
        retry_after_seconds: when a retry makes sense; sent as `Retry-After`.
        members: further fields of the answer, such as the present state of a transaction.
    """

    code: ClassVar[str] = "refused"
    #: Codes that some of its instances have instead.
    further_codes: ClassVar[tuple[str, ...]] = ()
    #: Sent as `WWW-Authenticate`.
    challenge: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        log: str | None = None,
        retry_after_seconds: int | None = None,
        **members: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stable_code = code or type(self).code
        self.log = log
        self.retry_after_seconds = retry_after_seconds
        self.members = members


def forget_frames(error: Exception) -> None:
    """Lets go of the frames through which an error and its causes were raised; call it when the error is answered.

    A frame often holds the error in a variable, or in a future that it waited for. Only the garbage collector finds
    such a circle: at 7,000 refusals a second it stopped the process for 25 ms, eight times a second.
    """
    left: BaseException | None = error
    while left is not None:
        cause = left.__cause__ or left.__context__
        left.__traceback__ = left.__cause__ = left.__context__ = None
        left = cause


class Malformed(Refusal):
    """The input itself is wrong, whatever the state of the data."""

    code = "malformed_request"


class Unauthenticated(Refusal):
    """The caller is unknown: credentials are missing, wrong or expired."""

    code = "invalid_credentials"
    # Every API takes both schemes. RFC 9110 allows several challenges in one field.
    challenge = f"{BASIC_CHALLENGE}, {BEARER_CHALLENGE}"


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(Refusal):
    """It does not exist, or not for this caller; both look the same on purpose."""

    code = "not_found"


class MethodNotAllowed(Refusal):
    """The path exists and does not take this method."""

    code = "method_not_allowed"


class Conflict(Refusal):
    """The present state does not allow it."""

    code = "conflict"


class PreconditionFailed(Refusal):
    """The present state is not the one that the caller named."""

    code = "precondition_failed"


class Gone(Refusal):
    """It existed and will not come back."""

    code = "gone"


class PayloadTooLarge(Refusal):
    """The body is longer than the operation takes."""

    code = "payload_too_large"


class UnsupportedMediaType(Refusal):
    """The body is of a type that the operation does not read."""

    code = "unsupported_media_type"


class TooSlow(Refusal):
    """The request did not come in completely within the time that it may take."""

    code = "request_timeout"


class Policy(NamedTuple):
    """A limit, as callers read it.

    Args:
        name: which limit.
        quota: how many requests, or how many at once if there is no window.
    """

    name: str
    quota: int
    window_seconds: int | None = None

    def __str__(self) -> str:
        window = "" if self.window_seconds is None else f";w={self.window_seconds}"
        return f'"{self.name}";q={self.quota}{window}'


class TooManyRequests(Refusal):
    """The caller exceeded a rate limit."""

    code = "too_many_requests"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 1, limit: Policy | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **kwargs)
        self.limit = limit


class Unavailable(Refusal):
    """Something that the operation needs cannot be reached. A retry is right."""

    code = "temporarily_unavailable"

    def __init__(
        self,
        message: str = "The service cannot do this at the moment. Please try again shortly.",
        *,
        retry_after_seconds: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **kwargs)


class Unexpected(Refusal):
    """An unexpected error; the answer tells nothing about the inside."""

    code = "internal_error"

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side. Please tell us the request id.")
