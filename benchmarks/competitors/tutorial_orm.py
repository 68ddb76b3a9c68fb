"""The EAI API as a tutorial would write it: FastAPI, a session a request, SQLAlchemy's ORM, one transaction each.

Correct for a single caller; it has none of the ledger's answers to retries that overtake each other.
"""

import os
import secrets
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Transaction(Base):
    __tablename__ = "transactions"

    transaction_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("accounts.user_id"))
    points: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))


class Entry(Base):
    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("accounts.user_id"))
    points: Mapped[int] = mapped_column(BigInteger)


class Body(BaseModel):
    userid: Annotated[str, Field(min_length=1, max_length=128)]
    transactionid: Annotated[str, Field(min_length=1, max_length=128)]
    pointstodeduct: Annotated[int, Field(gt=0)] | None = None
    description: str = ""


@lru_cache
def session_maker() -> async_sessionmaker[AsyncSession]:
    engine = create_async_engine(os.environ["TUTORIAL_DATABASE_URL"], pool_size=20)
    return async_sessionmaker(engine, expire_on_commit=False)


app = FastAPI()
basic = HTTPBasic()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with session_maker()() as session:
        yield session


def check(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> None:
    expected = os.environ["TUTORIAL_CLIENT_SECRET"].encode()
    if not secrets.compare_digest(credentials.password.encode(), expected):
        raise HTTPException(401)


@app.post("/eai/v1/points", dependencies=[Depends(check)])
async def change_points(
    request: Request, body: Body, session: Annotated[AsyncSession, Depends(get_session)]
) -> dict[str, str]:
    account = await session.get(Account, body.userid, with_for_update=True)
    if account is None:
        raise HTTPException(404)
    if "commit" in request.query_params:
        return await _commit(account, body, session)
    return await _confirm(account, body, session)


async def _commit(account: Account, body: Body, session: AsyncSession) -> dict[str, str]:
    points = body.pointstodeduct or 0
    if account.available < points:
        raise HTTPException(400)
    account.available -= points
    account.held += points
    session.add(Transaction(transaction_id=body.transactionid, user_id=body.userid, points=points, state="held"))
    await session.commit()
    return {"status": "success", "message": "points committed for transaction", "transactionid": body.transactionid}


async def _confirm(account: Account, body: Body, session: AsyncSession) -> dict[str, str]:
    transaction = await session.get(Transaction, body.transactionid, with_for_update=True)
    if transaction is None or transaction.state != "held":
        raise HTTPException(409)
    transaction.state = "confirmed"
    account.held -= transaction.points
    session.add(Entry(user_id=body.userid, points=-transaction.points))
    await session.commit()
    return {"status": "success", "message": "points successfully deducted", "transactionid": body.transactionid}
