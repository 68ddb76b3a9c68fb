"""All pages about third parties: applying, operations, set-up, consents."""

from fastapi import APIRouter
from shared.rate_limits import RateLimit

from partner_onboarding.pages.applying import applying_routes
from partner_onboarding.pages.consents import consent_pages
from partner_onboarding.pages.operated_clients import operated_client_routes
from partner_onboarding.pages.operations import operation_routes
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.pages.setup import setup_routes
from partner_onboarding.register import Register
from partner_onboarding.sessions.service import Sessions


def third_party_pages(
    pages: Pages, sessions: Sessions, register: Register, request_limit: RateLimit, public_url: str
) -> APIRouter:
    """/integrations, /operations, /setup and /consents."""
    consents, tenants, users = register.consents, register.tenants, register.users
    routes = APIRouter()
    routes.include_router(applying_routes(pages, register.integrations, request_limit, register.database))
    routes.include_router(operation_routes(pages, sessions, register.integrations, register.audit, register.database))
    routes.include_router(operated_client_routes(pages, sessions, register.clients, register.database))
    routes.include_router(setup_routes(pages, sessions, consents, tenants, users))
    routes.include_router(consent_pages(pages, sessions, consents, tenants, users, public_url))
    return routes
