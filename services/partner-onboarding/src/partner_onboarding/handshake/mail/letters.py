"""The texts of mails."""

from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate

from shared.web.languages import Texts

from partner_onboarding.handshake.mail.domain import Mail
from partner_onboarding.register.users.domain import Profile, deliverable


def subject(mail: Mail, texts: Texts, site: str, facts: Mapping[str, str]) -> str:
    """The line above a mail; see `letter`."""
    return texts.say(f"mail.{mail.kind}_subject", site=site, **facts)


def letter(
    mail: Mail,
    profile: Profile,
    texts: Texts,
    *,
    sender: str,
    public_url: str,
    site: str,
    link: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> EmailMessage:
    """A mail in plain text.

    Args:
        site: what the sender is called.
        facts: what else the text names.
    """
    told = {"firstname": profile.firstname, "site": site, "url": public_url, "link": link or "", **(facts or {})}
    message = EmailMessage()
    message["From"] = sender
    message["To"] = deliverable(profile.email)
    message["Subject"] = subject(mail, texts, site, facts or {})
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{mail.kind}.{mail.mail_id}@{sender.rpartition('@')[2].rstrip('>')}>"
    # Asks automatic responders not to answer (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = texts.language
    message.set_content(texts.say(f"mail.{mail.kind}", **told).strip() + "\n")
    return message
