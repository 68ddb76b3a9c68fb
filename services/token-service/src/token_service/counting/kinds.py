"""The kind of program that opened a link, by user agent and method. Pure.

For statistics only. It decides over no refusal and no quota, since anybody can choose a user agent. Known programs name
themselves; all others count as people.
"""

import re
from functools import lru_cache
from typing import Final

from token_service.tokens.domain import CallerKind

MAX_USER_AGENT_CHARACTERS: Final = 1024

#: Programs that open links of a mail or chat before its reader, or instead.
_SCANNERS = re.compile(
    r"safelinks|microsoft office|ms-office|microsoft outlook|skypeuripreview|bingpreview|exchangewebservices"
    r"|proofpoint|urldefense|mimecast|barracuda|symantec|messagelabs|fireeye|trendmicro|trend micro|sophos"
    r"|forcepoint|websense|zscaler|ironport|cisco-ttd|checkpoint|palo ?alto|cortex xpanse|fortinet|fortiguard"
    r"|kaspersky|eset|bitdefender|mcafee|virustotal|urlscan|safebrowsing|google-safety"
    r"|googleimageproxy|ggpht|yahoomailproxy|yahoo! slurp mail|mail\.ru_bot"
    r"|whatsapp|telegrambot|slackbot|slack-imgproxy|discordbot|facebookexternalhit|facebot|twitterbot|linkedinbot"
    r"|skype|line-poker|redditbot|mastodon|iframely|embedly|pinterestbot|vkshare|applebot|imessagebot"
    r"|linkpreview|link-preview|preview",
    re.IGNORECASE,
)
#: Programs that name themselves: crawlers, monitors, libraries and command lines.
_BOTS = re.compile(
    # Not the phones of Cubot.
    r"(?<!cu)bot\b|(?<!cu)bot[/;)_ -]"
    r"|crawl|spider|slurp|archiver|scrap|headless|phantomjs|puppeteer|playwright|selenium|lighthouse"
    r"|monitor|pingdom|uptime|statuscake|datadog|newrelic|nagios|zabbix|checkly"
    r"|curl/|wget|libwww|lwp::|python|aiohttp|httpx|okhttp|java/|apache-httpclient|go-http-client|node-fetch|axios"
    r"|undici|guzzle|ruby|perl|php/|postman|insomnia|httpie|powershell|feed|rss",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def kind_of(user_agent: str | None, method: str | None = None, purpose: str | None = None) -> CallerKind:
    """The kind of program or person that opened the link.

    Args:
        user_agent: None where the caller does not say; an empty one is no person's.
        method: the method that opened the link; people's browsers use GET and POST.
        purpose: the browser's `Sec-Purpose` or `Purpose`.
    """
    agent = (user_agent or "").strip()
    if user_agent is not None and not agent:
        return CallerKind.BOT
    if _SCANNERS.search(agent):
        return CallerKind.SCANNER
    if _BOTS.search(agent):
        return CallerKind.BOT
    if is_prefetch(purpose) or (method is not None and method.upper() not in {"GET", "POST"}):
        return CallerKind.SCANNER
    return CallerKind.PERSON


def is_prefetch(purpose: str | None) -> bool:
    """Whether the browser prefetches the page without a person's request."""
    return purpose is not None and ("prefetch" in purpose.lower() or "prerender" in purpose.lower())
