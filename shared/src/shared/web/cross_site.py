"""Whether a browser's request comes from this site's own pages.

The session's cookie goes along with requests that other sites cause. Judged by what only the browser can set:
`Sec-Fetch-Site`, then `Origin`, then `Referer`. A request with none of the three comes from no browser that
could be tricked: its sender holds the cookie.
"""

from starlette.requests import Request

from shared.errors import Forbidden
from shared.web.addresses import origin_of

#: What a request is said to come from when the browser tells only that it is not from here.
OPAQUE = "null"


class CrossSiteRequest(Forbidden):
    code = "cross_site_request"

    def __init__(self) -> None:
        super().__init__("This address is called from the platform's own pages only.")


def foreign_origin_of(request: Request) -> str | None:
    """`foreign_origin` of a request to a service, which is reached under its public URL and under the host that
    the request names."""
    headers = request.headers
    here = f"{request.app.state.proxies.scheme(request.scope)}://{headers.get('host', '')}"
    own = {origin_of(request.app.state.settings.public_url), origin_of(here)}
    return foreign_origin(
        sec_fetch_site=headers.get("sec-fetch-site"),
        origin=headers.get("origin"),
        referer=headers.get("referer"),
        own=frozenset(origin for origin in own if origin is not None),
    )


def foreign_origin(
    *, sec_fetch_site: str | None, origin: str | None, referer: str | None, own: frozenset[str]
) -> str | None:
    """The origin of a request that another site caused; None for one of our own, or of no browser.

    Args:
        own: the origins under which this service is reached.
    """
    if sec_fetch_site in {"same-origin", "none"}:
        return None
    if origin is not None:
        source = origin_of(origin) or OPAQUE
    elif referer is not None:
        source = origin_of(referer) or OPAQUE
    else:
        return None if sec_fetch_site is None else OPAQUE
    # `same-site` and `cross-site` are the browser's word that it is not our page, whatever else it says.
    return source if sec_fetch_site is not None or source not in own else None
