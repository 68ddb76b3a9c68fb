"""A FastAPI route that validates what a redirect asks for, answers alike, and does nothing: the framework alone."""

from fastapi import FastAPI
from sso_issuer.redirects.schemas import RedirectBody, RedirectOrderBody

app = FastAPI()
_TOKEN = "e" * 480


@app.post("/sso/v1/redirects", status_code=201)
async def issue_redirect(body: RedirectOrderBody) -> RedirectBody:
    return RedirectBody.model_validate(
        {
            "vendor_id": body.vendor_id,
            "delivery": "query",
            "url": f"https://rewards.example/redeem?token={_TOKEN}",
            "fields": {},
            "token": _TOKEN,
            "jti": "9WXeX4kUBQrMrHHoTAKSAn",
            "expires_at": "2026-12-29T15:30:39.008Z",
        }
    )
