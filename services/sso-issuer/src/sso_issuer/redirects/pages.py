"""The small pages that a browser may see on its way to a vendor; all work without scripts."""

from typing import Final
from urllib.parse import quote

from shared.errors import Refusal
from shared.problems import status_of
from shared.web.addresses import origin_of
from shared.web.pages import Pages
from starlette.requests import Request
from starlette.responses import Response

from sso_issuer.redirects.domain import Redirect

#: Has the templates, texts and the one script of the pages.
PACKAGE: Final = "sso_issuer"
STATIC_PATH: Final = "/sso/static"


class RedirectPages:
    """The pages, in the frame that all services share."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def post(self, request: Request, redirect: Redirect) -> Response:
        """A form that posts itself to the vendor; without scripts, its button does."""
        return self._pages.render(
            request,
            "post.html",
            # Chrome holds redirects that answer the form to `form-action` as well, and a vendor may send its visitor
            # on to another host of its own: hence https: beside the vendor's origin.
            form_action=f"{origin_of(redirect.url)} https:",
            referrer_policy="no-referrer",
            inline_script="submit.js",
            vendor=redirect.vendor_name,
            url=redirect.url,
            fields=redirect.fields,
        )

    def ask(self, request: Request, vendor_id: str, vendor_name: str) -> Response:
        """Asks a user who has just signed in whether to go on: opening a link must not send anyone anywhere."""
        # The answer to this form leads to the vendor. And its `Origin` must be ours: with `no-referrer` it would be
        # `null`, which a browser without Sec-Fetch-Site could not explain.
        return self._pages.render(
            request,
            "ask.html",
            leads_away=True,
            vendor=vendor_name,
            action=f"/sso/v1/redeem/{quote(vendor_id, safe='')}",
        )

    def unconfirmed(self, request: Request, refusal: Refusal) -> Response:
        """Asks a user to confirm the e-mail address, and leads to where the mail is sent again."""
        return self._pages.render(request, "unconfirmed.html", status=status_of(refusal), code=refusal.stable_code)
