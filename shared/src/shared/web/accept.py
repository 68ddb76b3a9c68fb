"""Whether a caller wants a page or a body for a program."""

from typing import Final

from starlette.requests import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

#: Longer headers are not read any further: browsers send far shorter ones.
_MAX_CHARACTERS: Final = 2000


def wants_page(request: Request, *, by_default: bool = False) -> bool:
    """Whether the answer is a page: `Accept` names `text/html`, and not after JSON.

    Args:
        by_default: the address has nothing but pages, so that `*/*` and silence get one too.
    """
    html, json = _weights(request)
    return (html > 0 and html > json) or (by_default and json == 0)


def wants_json(request: Request) -> bool:
    """Whether `Accept` names JSON, and not after `text/html`."""
    html, json = _weights(request)
    return json > 0 and json >= html


def wants_csv(request: Request) -> bool:
    """Whether `Accept` names `text/csv`, and not after JSON."""
    weights = _named(request)
    return weights.get("text/csv", 0.0) > weights.get("application/json", 0.0)


def _weights(request: Request) -> tuple[float, float]:
    """How much pages and JSON are wanted; 0 where `Accept` does not name them: `*/*` names nothing."""
    weights = _named(request)
    return weights.get("text/html", 0.0), weights.get("application/json", 0.0)


def _named(request: Request) -> dict[str, float]:
    """How much each media type is wanted that `Accept` names."""
    weights: dict[str, float] = {}
    header = ",".join(request.headers.getlist("accept"))[:_MAX_CHARACTERS]
    for name, weight in parse_accept_header(header, MIMEAccept):
        media_type = name.partition(";")[0].strip().lower()
        weights[media_type] = max(weights.get(media_type, 0.0), weight)
    return weights
