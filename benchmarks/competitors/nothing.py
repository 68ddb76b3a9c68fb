"""A FastAPI route that validates the EAI body and does nothing: what the framework alone takes."""

from fastapi import FastAPI
from points_ledger.eai.schemas import ConfirmBody
from shared.identifiers import PlainText

app = FastAPI()


class Body(ConfirmBody):
    """Commit and confirm in one, by the ledger's own rules: the confirm leaves out what it does not have."""

    description: PlainText = ""


@app.post("/eai/v1/points")
async def change_points(body: Body) -> dict[str, str]:
    return {"status": "success", "message": "points committed for transaction", "transactionid": body.transactionid}
