"""Style sheets, scripts and pictures, kept in memory: a handful of small files."""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.errors import NotFound

_WITH_DIGEST = "public, max-age=31536000, immutable"
_WITHOUT = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class StaticFile:
    content: bytes
    media_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """The files of some packages' `static` directories, below one path.

    Every service serves its own copy of what is shared: its pages need no other service to look right.
    """

    path: str
    by_name: Mapping[str, StaticFile]

    @classmethod
    def of(cls, path: str, *packages: str) -> Self:
        """`path` without a slash at its end, such as `/static`; of equal names the last package's counts."""
        found = {}
        for package in packages:
            directory = resources.files(package) / "static"
            for file in directory.iterdir():
                if file.is_file():
                    content = file.read_bytes()
                    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                    found[file.name] = StaticFile(content, media_type, hashlib.sha256(content).hexdigest()[:12])
        return cls(path, found)

    def addresses(self) -> dict[str, str]:
        """File → address with a digest of its content, so that browsers may keep it for good."""
        return {name: f"{self.path}/{name}?v={file.digest}" for name, file in self.by_name.items()}

    def route(self) -> Route:
        return Route(f"{self.path}/{{name}}", self._answer, methods=["GET", "HEAD"])

    async def _answer(self, request: Request) -> Response:
        request.state.route = f"{self.path}/{{name}}"
        file = self.by_name.get(request.path_params["name"])
        if file is None:
            raise NotFound("There is nothing at this address.")
        # While replicas are replaced, a page of the new version may ask an old one for its files: what has another
        # digest than was asked for must not be kept under that address.
        kept = _WITH_DIGEST if request.query_params.get("v") == file.digest else _WITHOUT
        return Response(file.content, headers={"Cache-Control": kept}, media_type=file.media_type)
