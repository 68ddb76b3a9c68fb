"""Pages in the place of a partner's landing page and a third party's redirect address.

They show what the browser carried there, which on a real partner's page nobody would see.
"""

import html
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_WHERE = {
    "/partner/welcome": "the partner's landing page, where the registration handshake ends",
    "/integration/callback": "the third party's redirect address, where the tenant admin's consent arrives",
}
_NEXT = {
    "/partner/welcome": (
        "A real partner would now compare <code>authorizationCode</code> with the one it kept, ask "
        "<code>POST /user/partner/redeem-handshake</code> for the user, and then call "
        "<code>GET /user/partner/activate-user/{userId}</code>. With <code>error</code>, nobody was linked."
    ),
    "/integration/callback": "A real integration would now exchange <code>code</code> for an access token.",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.0625rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 8vh auto; padding: 0 1.25rem }}
h1 {{ font-size: 1.9rem; line-height: 1.2 }}
dl {{ margin: 1.5rem 0; border: 1px solid #8888; border-radius: 12px }}
dl > div {{ padding: .8rem 1.1rem; overflow-wrap: anywhere }}
dl > div + div {{ border-top: 1px solid #8888 }}
dt {{ font-weight: 600 }} dd {{ margin: 0 }} code {{ font-size: .95em }}
</style>
</head><body><main><h1>{title}</h1>
<p>This page stands in for {where}. The browser carried this here:</p>
<dl>{carried}</dl><p>{next}</p></main></body></html>
"""


class StandInPages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        carried = parse_qsl(parts.query, keep_blank_values=True)
        rows = "".join(
            f"<div><dt>{html.escape(name)}</dt><dd><code>{html.escape(value)}</code></dd></div>"
            for name, value in carried
        )
        where = _WHERE.get(parts.path, "somebody else's page")
        body = _PAGE.format(
            title=_title(dict(carried)),
            where=where,
            carried=rows or "<div><dt>nothing</dt><dd></dd></div>",
            next=_NEXT.get(parts.path, ""),
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server calls
        """Nothing: the addresses carry codes."""


def _title(carried: dict[str, str]) -> str:
    if "error" in carried:
        return "You are back, and not linked"
    return "You are back, and linked" if "authorizationCode" in carried else "You have left the platform"


if __name__ == "__main__":
    port, host = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    ThreadingHTTPServer((host, port), StandInPages).serve_forever()
