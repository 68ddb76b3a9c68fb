"""What people agree to when they register, where the operator of the platform has no pages of its own for that."""

from typing import Annotated

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.handshake.registrations.domain import OWN_DOCUMENTS, Documents

PagesPart = Annotated[Pages, needs(Pages)]
DocumentsPart = Annotated[Documents, needs(Documents)]
router = APIRouter(include_in_schema=False)


@router.api_route(OWN_DOCUMENTS["terms"], methods=["GET", "HEAD"])
async def terms(pages: PagesPart, documents: DocumentsPart, request: Request) -> Response:
    return pages.render(request, "document.html", document="terms", version=documents.versions["terms"])


@router.api_route(OWN_DOCUMENTS["privacy"], methods=["GET", "HEAD"])
async def privacy(pages: PagesPart, documents: DocumentsPart, request: Request) -> Response:
    return pages.render(request, "document.html", document="privacy", version=documents.versions["privacy"])
