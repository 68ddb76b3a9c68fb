"""A FastAPI route that answers as the handshake does and does nothing: what the framework alone takes."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/user/partner/init-register-handshake")
async def init_register_handshake() -> dict[str, str]:
    return {
        "registerCode": "vrQc4sFaJGbpoga4AjuanC",
        "authorizationCode": "9WXeX4kUBQrMrHHoTAKSAn",
        "expiresAt": "2026-12-29T15:30:39.008Z",
    }
