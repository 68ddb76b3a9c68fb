"""Style sheet, script and picture, kept in memory: a handful of small files."""

import mimetypes
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import NotFound
from starlette.responses import Response

router = APIRouter(prefix="/static", include_in_schema=False)


class StaticFiles:
    """The files, by name."""

    def __init__(self) -> None:
        directory = resources.files("partner_onboarding") / "static"
        self._files = {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}

    def content(self, name: str) -> bytes:
        """Raises NotFound."""
        try:
            return self._files[name]
        except KeyError:
            raise NotFound("There is nothing at this address.") from None


@router.api_route("/{name}", methods=["GET", "HEAD"])
async def static_file(files: Annotated[StaticFiles, needs(StaticFiles)], request: Request, name: str) -> Response:
    content = files.content(name)
    # Pages name a digest of the content; asked for without one, a file may change with the next version.
    kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "public, max-age=300"
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, headers={"Cache-Control": kept}, media_type=media_type)
