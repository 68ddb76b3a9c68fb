"""FastAPI routes that validate what token-service does, credentials included, and do nothing: the framework alone."""

from typing import Annotated

from fastapi import Depends, FastAPI, Path
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, ConfigDict
from token_service.tokens.schemas import OrderBody

app = FastAPI()
Credentials = Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]
TOKEN = "2548a499367f4c2f87fd4873a97a6ff6"


class VisitBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_agent: str | None = None
    method: str | None = None


@app.post("/v1/tokens", status_code=201)
async def issue(body: OrderBody, _credentials: Credentials) -> dict[str, str]:
    # The model is made at run time, from the terms.
    base_url = body.base_url  # type: ignore[attr-defined]
    return {"token": TOKEN, "url_link": f"{base_url}/{TOKEN}", "issued_at": "", "expires_at": ""}


@app.post("/v1/tokens/{token}/verify")
async def verify(
    token: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], _body: VisitBody, _credentials: Credentials
) -> dict[str, str | int]:
    return {"token": token, "customer_id": "customer-1", "campaign_id": "spring-sale", "uses": 1}
