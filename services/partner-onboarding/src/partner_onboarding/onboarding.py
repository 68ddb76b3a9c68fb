"""Builds what the registration handshake consists of, over the register: codes, links, bills, mails, registrations.

Apart from `app`, so that each of the two fits on a page.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
from fastapi import APIRouter
from shared.idempotency import Answers
from shared.rate_limits import Counts, RateLimit

from partner_onboarding.billing.service import Billing
from partner_onboarding.clock import Clock
from partner_onboarding.handshakes.codes import CodeKeeping
from partner_onboarding.handshakes.service import Handshakes
from partner_onboarding.links.service import Links
from partner_onboarding.mail.delivery import Delivery, FileDelivery, SmtpDelivery, SmtpServer
from partner_onboarding.mail.service import Mails
from partner_onboarding.own_account.service import OwnAccount
from partner_onboarding.pages.confirmation import confirmation_routes
from partner_onboarding.pages.documents import PATH_OF, document_routes
from partner_onboarding.pages.own_account import own_account_routes
from partner_onboarding.pages.registration import RegistrationPages, registration_routes
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.partners.door import PartnerDoor
from partner_onboarding.partners.routes import partner_routes
from partner_onboarding.register import Register
from partner_onboarding.registrations.service import Registrations
from partner_onboarding.sessions.service import Sessions
from partner_onboarding.sessions.throttle import SignInThrottle
from partner_onboarding.settings import Settings
from partner_onboarding.token_client import TokenClient

#: A chore and how often it is done, in seconds.
Chore = tuple[Callable[[], Awaitable[object]], float]
_HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Onboarding:
    """The use cases around the handshake, and what they work with."""

    settings: Settings
    register: Register
    sessions: Sessions
    handshakes: Handshakes
    links: Links
    billing: Billing
    mails: Mails
    registrations: Registrations
    own_account: OwnAccount
    tokens: TokenClient
    door: PartnerDoor
    versions: dict[str, str]

    def chores(self) -> list[Chore]:
        """What is done from time to time, on every replica."""
        return [
            (self.billing.assign_due, self.settings.assignments_every_seconds),
            (self.mails.send_due, self.settings.mails_every_seconds),
        ]

    def routes(self, pages: Pages, answers: Answers) -> Iterator[APIRouter]:
        """The partner interface and the pages."""
        yield partner_routes(self.handshakes, self.links, self.billing, answers)
        yield document_routes(pages, self.versions)
        yield confirmation_routes(pages, self.mails)
        documents = {
            "terms": self.settings.terms_url or PATH_OF["terms"],
            "privacy": self.settings.privacy_url or PATH_OF["privacy"],
        }
        yield registration_routes(
            RegistrationPages(
                pages,
                self.sessions,
                self.register.users,
                self.register.tenants,
                self.handshakes,
                self.links,
                self.registrations,
                self.door,
                documents,
            )
        )
        yield own_account_routes(pages, self.sessions, self.links, self.own_account)

    async def close(self) -> None:
        await self.handshakes.close()
        await self.tokens.aclose()


def build_onboarding(
    settings: Settings,
    register: Register,
    sessions: Sessions,
    throttle: SignInThrottle,
    counts: Counts,
    clock: Clock,
    tokens_transport: httpx.AsyncBaseTransport | None,
) -> Onboarding:
    """The parts over the register, the sessions and the settings; `counts` is where requests are counted."""
    codes = CodeKeeping(key_for("handshake codes", settings), register.sealer)
    handshakes = Handshakes(register.database, codes, clock)
    links = Links(register.database, clock)
    key = key_for("own clients", settings)
    tokens = TokenClient(settings.tokens_url, register.database, register.clients, key, tokens_transport)
    mails = Mails(
        register.database,
        register.profiles,
        tokens,
        _delivery(settings),
        sender=settings.mail_from,
        public_url=settings.public_url,
    )
    versions = {"terms": settings.terms_version, "privacy": settings.privacy_version}
    return Onboarding(
        settings=settings,
        register=register,
        sessions=sessions,
        handshakes=handshakes,
        links=links,
        billing=Billing(register.database, clock),
        mails=mails,
        registrations=Registrations(
            register.database,
            register.profiles,
            register.passwords,
            sessions,
            handshakes,
            mails,
            clock,
            versions=versions,
            per_address=RateLimit(counts, settings.registrations_per_address, _HOUR_SECONDS, "registrations"),
            per_email=RateLimit(counts, settings.registrations_per_email, _HOUR_SECONDS, "registered-email"),
        ),
        own_account=OwnAccount(
            register.database, register.profiles, register.passwords, throttle, sessions, links, mails
        ),
        tokens=tokens,
        door=PartnerDoor(
            RateLimit(counts, settings.partner_requests_per_minute, 60, "partner"),
            is_closed=settings.partner_maintenance,
        ),
        versions=versions,
    )


def key_for(purpose: str, settings: Settings) -> bytes:
    """A key of its own for each purpose, drawn from the pepper so that all replicas have the same."""
    return hmac.digest(settings.pepper_bytes, f"partner-onboarding {purpose}".encode(), hashlib.sha256)


def _delivery(settings: Settings) -> Delivery | None:
    if settings.mail_directory is not None:
        return FileDelivery(settings.mail_directory)
    if settings.smtp_host is None:
        return None
    password = None if settings.smtp_password is None else settings.smtp_password.get_secret_value()
    return SmtpDelivery(
        SmtpServer(settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.smtp_username, password)
    )
