from typing import Any

import httpx


async def test_a_token_is_issued_verified_and_looked_at(
    client: httpx.AsyncClient, campaign: dict[str, str], order: dict[str, Any]
) -> None:
    issued = await client.post("/v1/tokens", json=order | {"attributes": {"discount": 50}}, headers=campaign)
    assert issued.status_code == 201, issued.text
    token = issued.json()["token"]
    assert issued.json()["url_link"] == f"https://mystore.example/promotions/{token}"
    verified = await client.post(f"/v1/tokens/{token}/verify", headers=campaign)
    assert verified.status_code == 200, verified.text
    assert verified.json()["attributes"] == {"discount": 50}
    assert verified.json()["uses"] == 1
    looked = await client.get(f"/v1/tokens/{token}", headers=campaign)
    assert looked.json() == verified.json()
    forged = await client.get(f"/v1/tokens/{'0' * 32}", headers=campaign)
    assert (forged.status_code, forged.json()["code"]) == (403, "invalid_signature")
    ready = await client.get("/readyz")
    assert ready.status_code == 200, ready.text
