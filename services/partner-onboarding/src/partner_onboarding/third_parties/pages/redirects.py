"""Redirects to other sites."""

from urllib.parse import quote, urlencode

from starlette.responses import Response


def leave(url: str, **parameters: str | None) -> Response:
    """A 303 to `url` with its own query and the given parameters."""
    carried = urlencode({key: value for key, value in parameters.items() if value is not None}, quote_via=quote)
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    headers = {"Location": f"{url}{joint}{carried}", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=303, headers=headers)
