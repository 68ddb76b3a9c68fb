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
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Stand-in</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 3rem auto; padding: 0 1rem }}</style>
</head><body><main><h1>You have left the platform</h1>
<p>This page stands in for {where}. The browser carried this here:</p>
<dl>{carried}</dl></main></body></html>
"""


class StandInPages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        carried = parse_qsl(parts.query, keep_blank_values=True)
        rows = "".join(
            f"<dt><strong>{html.escape(name)}</strong></dt><dd><code>{html.escape(value)}</code></dd>"
            for name, value in carried
        )
        where = _WHERE.get(parts.path, "somebody else's page")
        body = _PAGE.format(where=where, carried=rows or "<dt>nothing</dt>").encode()
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


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), StandInPages).serve_forever()
