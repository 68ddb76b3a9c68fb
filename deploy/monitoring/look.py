"""The dashboards without Grafana: the very same files, asked of a real Prometheus.

    python deploy/monitoring/look.py check http://localhost:8090     every query must return data; exit code 1 if not
    python deploy/monitoring/look.py serve http://localhost:8090     plain charts at http://localhost:3000

Needs nothing but Python.
"""

import html
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

DASHBOARDS = Path(os.environ.get("DASHBOARDS", Path(__file__).with_name("grafana") / "dashboards"))
#: What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$service": ".*"}
SECONDS, STEP = 1800, 10
WIDTH, HEIGHT = 560, 190
COLOURS = ("#3b7ddd", "#e8833a", "#3aa76d", "#d64550", "#8e62c7", "#a0785a", "#d46fb5", "#6b7785", "#b3b03c", "#39b3c6")


@dataclass(frozen=True)
class Query:
    expression: str
    legend: str

    def name(self, labels: dict[str, str]) -> str:
        text = self.legend
        for label, value in labels.items():
            text = text.replace(f"{{{{{label}}}}}", value)
        return text


@dataclass(frozen=True)
class Panel:
    dashboard: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Series:
    name: str
    points: tuple[tuple[float, float], ...]


def panels() -> Iterator[Panel]:
    """Of all dashboards, in their order."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                queries = tuple(Query(expand(each["expr"]), each["legendFormat"]) for each in panel["targets"])
                unit = panel["fieldConfig"]["defaults"]["unit"]
                yield Panel(dashboard["title"], panel["title"], panel["description"], unit, queries)


def expand(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def ask(prometheus: str, query: Query) -> list[Series]:
    """The last half hour; what is no number is no data.

    Raises:
        OSError, ValueError: Prometheus gives no answer, or refuses the query.
    """
    now = time.time()
    asked = urlencode({"query": query.expression, "start": now - SECONDS, "end": now, "step": STEP})
    connection = HTTPConnection(urlsplit(prometheus).netloc, timeout=10)
    connection.request("GET", f"/api/v1/query_range?{asked}")
    answer = json.loads(connection.getresponse().read())
    if answer["status"] != "success":
        raise ValueError(f"{query.expression}: {answer['error']}")
    series = [_series(query, each) for each in answer["data"]["result"]]
    return sorted((each for each in series if each.points), key=lambda each: -max(value for _, value in each.points))


def _series(query: Query, result: dict[str, Any]) -> Series:
    points = tuple((float(at), float(value)) for at, value in result["values"] if math.isfinite(float(value)))
    return Series(query.name(result["metric"]), points)


def check(prometheus: str) -> int:
    without_data = 0
    for panel in panels():
        for query in panel.queries:
            series = ask(prometheus, query)
            latest = f"{len(series):3} series, at most {series[0].points[-1][1]:.6g} now" if series else "NO DATA"
            without_data += not series
            print(f"{panel.dashboard:36} {panel.title:42} {latest}")
    print(f"{without_data} queries without data")
    return 1 if without_data else 0


class Page(BaseHTTPRequestHandler):
    prometheus = ""

    def do_GET(self) -> None:
        body = b"ok" if self.path == "/api/health" else page(self.prometheus).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server calls
        """Nothing."""


def page(prometheus: str) -> str:
    parts, dashboard = [], ""
    for panel in panels():
        if panel.dashboard != dashboard:
            dashboard = panel.dashboard
            parts.append(f"<h1>{html.escape(dashboard)}</h1>")
        series = [each for query in panel.queries for each in ask(prometheus, query)]
        parts.append(
            f"<section><h2>{html.escape(panel.title)} <small>{html.escape(panel.unit)}</small></h2>"
            f"<p>{html.escape(panel.description)}</p>{chart(series)}</section>"
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Dashboards</title><style>'
        "body{font:14px/1.4 system-ui,sans-serif;margin:1rem;background:#f4f5f7;color:#1d232b}"
        "h1{font-size:1.3rem}section{display:inline-block;vertical-align:top;width:560px;"
        "margin:0 .8rem .8rem 0;padding:.7rem .9rem;background:#fff;border:1px solid #dde1e6;border-radius:8px}"
        "h2{font-size:1rem;margin:0}small{font-weight:400;color:#66707c}p{margin:.1rem 0 .4rem;color:#66707c}"
        "ul{list-style:none;margin:.3rem 0 0;padding:0;font-size:12px}li{display:flex;gap:.5em}li b{margin-left:auto}"
        f"</style>{''.join(parts)}</html>"
    )


def chart(series: list[Series]) -> str:
    if not series:
        return "<p><strong>No data</strong></p>"
    end = time.time()
    top = max(value for each in series for _, value in each.points) or 1.0
    lines, names = [], []
    for number, each in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(
            f"{WIDTH * (1 - (end - at) / SECONDS):.1f},{HEIGHT - 4 - (HEIGHT - 20) * value / top:.1f}"
            for at, value in each.points
        )
        lines.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        latest = f"{each.points[-1][1]:.4g}"
        names.append(f'<li><span style="color:{colour}">■</span>{html.escape(each.name)}<b>{latest}</b></li>')
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<line x1="0" y1="{HEIGHT - 4}" x2="{WIDTH}" y2="{HEIGHT - 4}" stroke="#ccd2d9"/>'
        f'<text x="2" y="11" font-size="11" fill="#66707c">{top:.4g}</text>{"".join(lines)}</svg>'
        f"<ul>{''.join(names[:12])}</ul>" + (f"<p>and {len(names) - 12} more</p>" if names[12:] else "")
    )


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[1] not in {"check", "serve"}:
        print(__doc__)
        return 2
    command, prometheus = sys.argv[1], sys.argv[2]
    if command == "check":
        return check(prometheus)
    Page.prometheus = prometheus
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        ThreadingHTTPServer((sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", 3000), Page).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
