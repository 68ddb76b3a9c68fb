"""`/docs`: the service's OpenAPI to read and to try, from files of our own. No foreign host is asked."""

from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

PATH: Final = "/docs"
_FILES: Final = f"{PATH}/static"
#: Swagger UI is started by a script within its page, and puts styles into it.
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def add_api_pages(app: FastAPI) -> None:
    """Adds the page and its files. The package is there for its copy of Swagger UI alone; no code of it runs."""

    async def docs(_request: Request) -> Response:
        page = get_swagger_ui_html(
            openapi_url=app.openapi_url or "/openapi.json",
            title=app.title,
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{_FILES}/favicon.png",
        )
        return HTMLResponse(page.body, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})

    app.add_route(PATH, docs, methods=["GET"], include_in_schema=False)
    app.mount(_FILES, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-static")
