"""Builds the handshake on the register: codes, links, bills, mails, registrations."""

from dataclasses import dataclass

import httpx
from shared.callers import Callers
from shared.chores import Chore
from shared.rate_limits import RateLimit

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.account.erasures import CLOSED_AT_ONCE, Erasures
from partner_onboarding.handshake.account.ledger_client import LedgerClient
from partner_onboarding.handshake.account.records import HandshakeRecords
from partner_onboarding.handshake.handshakes.codes import CodeKeeping
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.links.billing import Billing
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.mail.delivery import Delivery, FileDelivery, SmtpDelivery, SmtpServer
from partner_onboarding.handshake.mail.service import MAILS_AT_ONCE, Mails
from partner_onboarding.handshake.mail.token_client import TokenClient
from partner_onboarding.handshake.partners.access import PartnerAccess
from partner_onboarding.handshake.registrations.domain import OWN_DOCUMENTS, Documents
from partner_onboarding.handshake.registrations.service import Registrations
from partner_onboarding.handshake.watching import WaitingWatch
from partner_onboarding.register.build import Register
from partner_onboarding.settings import Settings

_HOUR_SECONDS = 3600
_TIDY_EVERY_SECONDS = 600.0
_CLOSE_EVERY_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Handshake:
    """The use cases of the handshake, and their parts."""

    settings: Settings
    documents: Documents
    handshakes: Handshakes
    links: Links
    billing: Billing
    mails: Mails
    registrations: Registrations
    records: HandshakeRecords
    erasures: Erasures
    tokens: TokenClient
    access: PartnerAccess
    waiting: WaitingWatch

    def chores(self) -> tuple[Chore, ...]:
        """The periodic work, which runs on every replica."""
        return (
            Chore("assign-months", self.billing.assign_due, self.settings.assignments_every_seconds),
            Chore("send-mails", self.mails.send_due, self.settings.mails_every_seconds, full_slice=MAILS_AT_ONCE),
            Chore("close-accounts", self.erasures.close_due, _CLOSE_EVERY_SECONDS, full_slice=CLOSED_AT_ONCE),
            Chore("watch-waiting", self.waiting.look, _LOOK_EVERY_SECONDS),
            Chore("forget-handshakes", self.handshakes.tidy_up, _TIDY_EVERY_SECONDS),
        )

    async def close(self) -> None:
        await self.handshakes.close()
        await self.tokens.aclose()


def build_handshake(
    register: Register,
    callers: Callers,
    clock: Clock,
    ledger: LedgerClient,
    tokens_transport: httpx.AsyncBaseTransport | None,
) -> Handshake:
    """Builds the parts on the register."""
    settings, counts, answers = register.settings, register.counts, register.answers
    codes = CodeKeeping(settings.key_for("handshake codes"), register.sealer)
    handshakes = Handshakes(register.database, answers, codes, clock)
    links = Links(register.database, answers, clock)
    key = settings.key_for("own clients")
    tokens = TokenClient(settings.tokens_url, register.database, register.clients, key, tokens_transport)
    documents = Documents(
        addresses={
            "terms": settings.terms_url or OWN_DOCUMENTS["terms"],
            "privacy": settings.privacy_url or OWN_DOCUMENTS["privacy"],
        },
        versions={"terms": settings.terms_version, "privacy": settings.privacy_version},
    )
    mails = Mails(
        register.database,
        register.profiles,
        register.notices,
        tokens,
        _delivery(settings),
        sender=settings.mail_from,
        public_url=settings.public_url,
        product_name=settings.product_name,
    )
    return Handshake(
        settings=settings,
        documents=documents,
        handshakes=handshakes,
        links=links,
        billing=Billing(register.database, clock),
        mails=mails,
        registrations=Registrations(
            register.database,
            register.profiles,
            register.passwords,
            register.sessions,
            register.sign_in,
            register.throttle,
            handshakes,
            clock,
            versions=documents.versions,
            per_address=RateLimit(counts, settings.registrations_per_address, _HOUR_SECONDS, "registrations"),
            per_email=RateLimit(counts, settings.registrations_per_email, _HOUR_SECONDS, "registered-email"),
        ),
        records=HandshakeRecords(register.database, mails),
        erasures=Erasures(register.database, ledger),
        tokens=tokens,
        access=PartnerAccess(
            callers,
            RateLimit(counts, settings.partner_requests_per_minute, 60, "partner"),
            is_closed=settings.partner_maintenance,
        ),
        waiting=WaitingWatch(register.database, clock),
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
