"""Style sheet, script and picture, kept in memory: a handful of small files."""

import mimetypes
from importlib import resources

from fastapi import APIRouter, Request
from shared.errors import NotFound
from starlette.responses import Response


def static_routes() -> APIRouter:
    """The routes below /static."""
    directory = resources.files("partner_onboarding") / "static"
    files = {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}
    routes = APIRouter(prefix="/static", include_in_schema=False)

    @routes.api_route("/{name}", methods=["GET", "HEAD"])
    async def static_file(request: Request, name: str) -> Response:
        content = files.get(name)
        if content is None:
            raise NotFound("There is nothing at this address.")
        # Pages name a digest of the content; asked for without one, a file may change with the next version.
        kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "public, max-age=300"
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, headers={"Cache-Control": kept}, media_type=media_type)

    return routes
