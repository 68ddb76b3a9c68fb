"""Builds the handshake on the register: codes, links, bills, mails, registrations."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from shared.rate_limits import Counts, RateLimit

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.account.belongings import HandshakeBelongings
from partner_onboarding.handshake.handshakes.codes import CodeKeeping
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.links.billing import Billing
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.mail.delivery import Delivery, FileDelivery, SmtpDelivery, SmtpServer
from partner_onboarding.handshake.mail.service import Mails
from partner_onboarding.handshake.mail.token_client import TokenClient
from partner_onboarding.handshake.partners.access import PartnerAccess
from partner_onboarding.handshake.registrations.service import Registrations
from partner_onboarding.register.build import Register
from partner_onboarding.settings import Settings

#: A chore and its period in seconds.
Chore = tuple[Callable[[], Awaitable[object]], float]
_HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Handshake:
    """The use cases of the handshake, and their parts."""

    settings: Settings
    handshakes: Handshakes
    links: Links
    billing: Billing
    mails: Mails
    registrations: Registrations
    belongings: HandshakeBelongings
    tokens: TokenClient
    access: PartnerAccess

    def chores(self) -> list[Chore]:
        """The periodic work, which runs on every replica."""
        return [
            (self.billing.assign_due, self.settings.assignments_every_seconds),
            (self.mails.send_due, self.settings.mails_every_seconds),
        ]

    async def close(self) -> None:
        await self.handshakes.close()
        await self.tokens.aclose()


def build_handshake(
    register: Register, counts: Counts, clock: Clock, tokens_transport: httpx.AsyncBaseTransport | None
) -> Handshake:
    """Builds the parts; `counts` is the store of rate limits."""
    settings = register.settings
    codes = CodeKeeping(settings.key_for("handshake codes"), register.sealer)
    handshakes = Handshakes(register.database, codes, clock)
    links = Links(register.database, clock)
    key = settings.key_for("own clients")
    tokens = TokenClient(settings.tokens_url, register.database, register.clients, key, tokens_transport)
    return Handshake(
        settings=settings,
        handshakes=handshakes,
        links=links,
        billing=Billing(register.database, clock),
        mails=Mails(
            register.database,
            register.profiles,
            tokens,
            _delivery(settings),
            sender=settings.mail_from,
            public_url=settings.public_url,
        ),
        registrations=Registrations(
            register.database,
            register.profiles,
            register.passwords,
            register.sessions,
            handshakes,
            clock,
            versions={"terms": settings.terms_version, "privacy": settings.privacy_version},
            per_address=RateLimit(counts, settings.registrations_per_address, _HOUR_SECONDS, "registrations"),
            per_email=RateLimit(counts, settings.registrations_per_email, _HOUR_SECONDS, "registered-email"),
        ),
        belongings=HandshakeBelongings(links),
        tokens=tokens,
        access=PartnerAccess(
            RateLimit(counts, settings.partner_requests_per_minute, 60, "partner"),
            is_closed=settings.partner_maintenance,
        ),
    )


def _delivery(settings: Settings) -> Delivery | None:
    if settings.mail_directory is not None:
        return FileDelivery(settings.mail_directory)
    if settings.smtp_host is None:
        return None
    password = None if settings.smtp_password is None else settings.smtp_password.get_secret_value()
    return SmtpDelivery(
        SmtpServer(settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.smtp_username, password)
    )
