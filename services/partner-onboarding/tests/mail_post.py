"""The mails of a test, and token-service behind their links."""

from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from partner_onboarding.handshake.mail.service import Mails

from .handshake_people import FakeTokens
from .onboarding_house import House


@dataclass
class Post:
    """The mails of a test, and the token-service behind their links."""

    house: House
    mails: Mails
    tokens: FakeTokens
    directory: Path

    async def sent(self) -> list[tuple[str, str]]:
        """Recipient and text of all that waited and was sent now."""
        for old in self.directory.glob("*.eml"):
            old.unlink()
        # Those of other tests wait, too.
        while await self.mails.send_due():
            pass
        found = []
        for file in self.directory.glob("*.eml"):
            assert file.stat().st_mode & 0o077 == 0
            message = message_from_bytes(file.read_bytes(), policy=policy.default)
            body = message.get_body()
            assert body is not None
            found.append((str(message["To"]), f"{message['Subject']}\n{body.get_content()}"))
        return [one for one in found if self.house.tenant in one[0]]
