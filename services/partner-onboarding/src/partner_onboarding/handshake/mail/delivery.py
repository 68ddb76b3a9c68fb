"""Delivery of mails: by SMTP, or in development into a file."""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Literal, Protocol

_TIMEOUT_SECONDS: Final = 20.0
Security = Literal["starttls", "tls", "none"]


class NotDelivered(OSError):
    """The mail server refused. Only its status numbers are kept, since its words may name the person."""


class Delivery(Protocol):
    """A way to deliver mails."""

    async def deliver(self, message: EmailMessage) -> None:
        """Raises OSError if the mail was not delivered."""


class FileDelivery:
    """Writes each mail into a directory, for development: `<message id>.eml`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def deliver(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._write, message)

    def _write(self, message: EmailMessage) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        unfinished = self._directory / f".{name}"
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(bytes(message))
        unfinished.rename(self._directory / f"{name}.eml")


@dataclass(frozen=True, slots=True)
class SmtpServer:
    host: str
    port: int
    security: Security
    username: str | None
    password: str | None


class SmtpDelivery:
    """Sends each mail over a connection of its own, since mails are few."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def deliver(self, message: EmailMessage) -> None:
        try:
            await asyncio.to_thread(self._send, message)
        except smtplib.SMTPException as refusal:
            raise NotDelivered(f"{type(refusal).__name__} {_codes_of(refusal)}".rstrip()) from None

    def _send(self, message: EmailMessage) -> None:
        server, trust = self._server, ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_SECONDS, context=trust)
            if server.security == "tls"
            else smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)
        ) as connection:
            if server.security == "starttls":
                connection.starttls(context=trust)
            if server.username is not None and server.password is not None:
                connection.login(server.username, server.password)
            connection.send_message(message)


def _codes_of(refusal: smtplib.SMTPException) -> str:
    if isinstance(refusal, smtplib.SMTPRecipientsRefused):
        return ", ".join(str(code) for code, _ in refusal.recipients.values())
    return str(refusal.smtp_code) if isinstance(refusal, smtplib.SMTPResponseException) else ""
