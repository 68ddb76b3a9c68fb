"""Mails as a real SMTP server gets them: over TLS or not at all, and without a word of the person in our log."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from partner_onboarding.handshake.mail.delivery import NotDelivered, SmtpDelivery, SmtpServer
from partner_onboarding.handshake.mail.domain import Mail
from partner_onboarding.handshake.mail.letters import letter
from partner_onboarding.register.users.domain import Profile
from shared.web.languages import load_texts

USER, PASSWORD = "mailer", "a password of the platform's"


class Box:
    """What a mail server got."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 — its name there
        if any(address.startswith("nobody@") for address in envelope.rcpt_tos):
            return f"550 5.1.1 {envelope.rcpt_tos[0]} is not known here"
        self.envelopes.append(envelope)
        return "250 OK"


@dataclass(frozen=True)
class PostOffice:
    """A running mail server, and the way to it."""

    box: Box
    port: int

    def delivery(self, **changes: Any) -> SmtpDelivery:
        told: dict[str, Any] = {"security": "starttls", "username": USER, "password": PASSWORD}
        return SmtpDelivery(SmtpServer(host="localhost", port=self.port, **(told | changes)))

    def got(self) -> tuple[Envelope, EmailMessage]:
        (envelope,) = self.box.envelopes
        assert isinstance(envelope.content, bytes)
        return envelope, message_from_bytes(envelope.content, policy=policy.default)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost`, signed by itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("smtp") / "localhost.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    return file


Open = Callable[..., Awaitable[PostOffice]]


@pytest.fixture
async def opened(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens a post office; `trusted` says whether this machine trusts its certificate."""
    running: list[asyncio.Server] = []

    def is_known(*asked: Any) -> AuthResult:
        shown = asked[4]
        return AuthResult(success=(shown.login, shown.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    async def open_one(*, trusted: bool = True, tls: bool = True, **options: Any) -> PostOffice:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        box = Box()
        if tls:
            options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(box, authenticator=is_known, hostname="localhost", **options), "127.0.0.1", 0
        )
        running.append(server)
        return PostOffice(box, server.sockets[0].getsockname()[1])

    yield open_one
    for server in running:
        server.close()
        await server.wait_closed()


def mail_to(email: str, language: str = "en", firstname: str = "Jürgen") -> EmailMessage:
    now = datetime.now(UTC)
    waiting = Mail("demo", "0123456789abcdef", "u1", "confirm_address", language, now, 0, now)
    return letter(
        waiting,
        Profile(email, firstname, "Groß"),
        load_texts("partner_onboarding")[language],
        sender="Points platform <no-reply@points.example>",
        public_url="https://points.example",
        site="Demo Pünkte",
        link="https://points.example/register/confirm/demo/" + "0" * 32,
    )


@pytest.mark.parametrize("language", ["en", "de"])
async def test_a_mail_arrives_over_tls_from_whom_the_server_knows(opened: Open, language: str) -> None:
    office = await opened()
    await office.delivery().deliver(mail_to("juergen@example.com", language))
    envelope, message = office.got()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@points.example", ["juergen@example.com"])
    assert "Demo Pünkte" in message["Subject"]
    body = message.get_body()
    assert body is not None
    assert "Jürgen" in body.get_content()
    assert "/register/confirm/demo/" + "0" * 32 in body.get_content()
    assert message["Auto-Submitted"] == "auto-generated"


async def test_a_domain_with_umlauts_is_written_in_ascii(opened: Open) -> None:
    """Few servers take anything else, and this one does not."""
    office = await opened(enable_SMTPUTF8=False)
    await office.delivery().deliver(mail_to("erika@müller.example"))
    envelope, message = office.got()
    assert envelope.rcpt_tos == ["erika@xn--mller-kva.example"]
    assert message["To"] == "erika@xn--mller-kva.example"


async def test_nothing_is_said_in_clear(opened: Open) -> None:
    office = await opened(tls=False)
    with pytest.raises(NotDelivered, match="SMTPNotSupportedError"):
        await office.delivery().deliver(mail_to("erika@example.com"))
    assert office.box.envelopes == []


async def test_nothing_is_said_to_a_server_that_is_not_known_to_be_the_right_one(opened: Open) -> None:
    office = await opened(trusted=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        await office.delivery().deliver(mail_to("erika@example.com"))
    assert office.box.envelopes == []


async def test_a_refusal_is_told_in_numbers(opened: Open) -> None:
    """The words of a mail server may name the person, and would stand in the log."""
    office = await opened()
    with pytest.raises(NotDelivered) as refused:
        await office.delivery(password="wrong").deliver(mail_to("erika@example.com"))
    assert str(refused.value) == "SMTPAuthenticationError 535"
    with pytest.raises(NotDelivered) as refused:
        await office.delivery().deliver(mail_to("nobody@example.com"))
    assert str(refused.value) == "SMTPDataError 550"
    assert "nobody" not in repr(refused.value)
