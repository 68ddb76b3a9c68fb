"""What people agree to when they register, where the operator of the platform has no pages of its own for that."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from partner_onboarding.pages.rendering import Pages

PATH_OF: Final = {"terms": "/register/terms", "privacy": "/register/privacy"}


def document_routes(pages: Pages, versions: dict[str, str]) -> APIRouter:
    """/register/terms and /register/privacy."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route(PATH_OF["terms"], methods=["GET", "HEAD"])
    async def terms(request: Request) -> Response:
        return pages.render(request, "document.html", document="terms", version=versions["terms"])

    @routes.api_route(PATH_OF["privacy"], methods=["GET", "HEAD"])
    async def privacy(request: Request) -> Response:
        return pages.render(request, "document.html", document="privacy", version=versions["privacy"])

    return routes
