"""A FastAPI route that validates the EAI body and does nothing: what the framework alone takes."""

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI()


class Body(BaseModel):
    """Commit and confirm in one: the confirm leaves out what it does not have."""

    model_config = ConfigDict(extra="forbid")

    userid: Annotated[str, Field(min_length=1, max_length=128)]
    transactionid: Annotated[str, Field(min_length=1, max_length=128)]
    pointstodeduct: Annotated[int, Field(strict=True, gt=0)] | None = None
    description: Annotated[str, Field(max_length=500)] = ""


@app.post("/eai/v1/points")
async def change_points(body: Body) -> dict[str, str]:
    return {"status": "success", "message": "points committed for transaction", "transactionid": body.transactionid}
