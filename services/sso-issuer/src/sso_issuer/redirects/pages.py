"""The three small pages a browser may see on its way to a vendor.

No request of theirs leaves for elsewhere, no script runs but the one line whose hash stands in the policy, and
everything works without it.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from shared.errors import Refusal, Unavailable
from shared.problems import headers_of, status_of
from shared.web.addresses import origin_of
from starlette.responses import HTMLResponse

from sso_issuer.redirects.domain import Redirect

_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "going": "On to {vendor}",
        "going_hint": "You are being taken there. If nothing happens, use the button.",
        "continue_hint": "{vendor} will see your name, your e-mail address and how many points you have.",
        "button": "Continue",
        "refused": "That did not work",
        "retry_hint": "The service cannot be reached at the moment. Nothing was lost; please try again shortly.",
        "refused_hint": "You cannot be taken there. Please go back and try again.",
        "request_id": "If you ask us about it, please tell us this number:",
    },
    "de": {
        "going": "Weiter zu {vendor}",
        "going_hint": "Sie werden weitergeleitet. Falls nichts geschieht, verwenden Sie die Schaltfläche.",
        "continue_hint": "{vendor} sieht Ihren Namen, Ihre E-Mail-Adresse und Ihren Punktestand.",
        "button": "Weiter",
        "refused": "Das hat nicht geklappt",
        "retry_hint": "Der Dienst ist gerade nicht erreichbar. Es ging nichts verloren; bitte versuchen Sie es gleich "
        "noch einmal.",
        "refused_hint": "Die Weiterleitung ist nicht möglich. Bitte gehen Sie zurück und versuchen Sie es noch einmal.",
        "request_id": "Wenn Sie uns danach fragen, nennen Sie uns bitte diese Nummer:",
    },
}


class Pages:
    """The pages, rendered for whoever reads them in German or English."""

    def __init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("sso_issuer.redirects"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self._post = environment.get_template("post.html")
        self._ask = environment.get_template("ask.html")
        self._refused = environment.get_template("refused.html")
        self._style_hash = _csp_hash(environment.get_template("style.css").render())
        self._script_hash = _csp_hash(environment.get_template("submit.js").render())

    def post(self, redirect: Redirect, language: str) -> HTMLResponse:
        """A form that posts itself to the vendor; without scripts, its button does."""
        html = self._post.render(
            lang=language, text=_texts(language, redirect.vendor_name), url=redirect.url, fields=redirect.fields
        )
        # Chrome holds redirects that answer the form to `form-action` as well, and a vendor may send its visitor
        # on to another host of its own: hence https: beside the vendor's origin.
        return self._page(html, form_action=f"{origin_of(redirect.url)} https:", script=True)

    def ask(self, vendor_id: str, vendor_name: str, language: str) -> HTMLResponse:
        """Asks a user who has just signed in whether to go on: opening a link must not send anyone anywhere."""
        html = self._ask.render(
            lang=language, text=_texts(language, vendor_name), action=f"/sso/v1/redeem/{quote(vendor_id, safe='')}"
        )
        # The answer to this form leads to the vendor, wherever that is. And its `Origin` must be ours: with
        # `no-referrer` it would be `null`, which a browser without Sec-Fetch-Site could not explain.
        return self._page(html, form_action="'self' https: http:", referrer_policy="same-origin")

    def refused(self, refusal: Refusal, request_id: str | None, language: str) -> HTMLResponse:
        """Says that it did not work, in words for the user; the code is for whoever helps."""
        texts = _texts(language, "")
        html = self._refused.render(
            lang=language,
            text=texts,
            hint=texts["retry_hint" if isinstance(refusal, Unavailable) else "refused_hint"],
            code=refusal.stable_code,
            request_id=request_id,
        )
        response = self._page(html, form_action="'none'", status=status_of(refusal))
        response.headers.update(headers_of(refusal))
        return response

    def _page(
        self,
        html: str,
        *,
        form_action: str,
        script: bool = False,
        referrer_policy: str = "no-referrer",
        status: int = 200,
    ) -> HTMLResponse:
        policy = [
            "default-src 'none'",
            f"style-src {self._style_hash}",
            f"form-action {form_action}",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
        if script:
            policy.append(f"script-src {self._script_hash}")
        return HTMLResponse(
            html,
            status_code=status,
            headers={
                "Content-Security-Policy": "; ".join(policy),
                "Cache-Control": "no-store",
                "Referrer-Policy": referrer_policy,
                "Vary": "Accept, Accept-Language",
            },
        )


def language_of(accept_language: str | None) -> str:
    """`de` or `en`: whichever of the two the browser names with the greater weight."""
    weights = {"de": 0.0, "en": 0.0}
    for part in (accept_language or "").split(","):
        name, _, parameters = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        if language in weights:
            weights[language] = max(weights[language], weight_of(parameters))
    return "de" if weights["de"] > weights["en"] else "en"


def weight_of(parameters: str) -> float:
    """The `q` of a part of an `Accept…` header; 1 without one."""
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip().lower() == "q" else 1.0
    except ValueError:
        return 0.0


def _texts(language: str, vendor: str) -> dict[str, str]:
    return {name: text.replace("{vendor}", vendor) for name, text in _TEXTS[language].items()}


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
