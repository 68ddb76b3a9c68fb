"""The pages and their JSON twins: parse, one use case, shape."""

import hmac
import logging
import re
from dataclasses import dataclass
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from rewards_shop.balances import present_balance
from rewards_shop.catalogue import REWARDS
from rewards_shop.checkout import Checkout
from rewards_shop.events import Inbox, NotFromPlatform
from rewards_shop.keys import KeysUnavailable
from rewards_shop.orders import Order
from rewards_shop.pages import Pages
from rewards_shop.platform_client import Clock, NoAnswer, PlatformClient
from rewards_shop.problems import PAGES, Problem, rejected_link
from rewards_shop.sessions import Session, Sessions
from rewards_shop.settings import ShopSettings
from rewards_shop.shapes import catalogue_json, order_json, visit_json
from rewards_shop.sso import redeem_once
from rewards_shop.store import Balance, Store
from rewards_shop.texts import text
from rewards_shop.tokens import TokenRejected, TokenVerifier
from rewards_shop.web import language, read_body, read_fields, wants_json

log = logging.getLogger(__name__)
router = APIRouter()

ORDER_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LATEST_ORDERS = 5


@dataclass(frozen=True)
class Shop:
    """All that a request needs; made once, in app.py."""

    settings: ShopSettings
    clock: Clock
    store: Store
    platform: PlatformClient
    tokens: TokenVerifier
    sessions: Sessions
    checkout: Checkout
    inbox: Inbox | None
    pages: Pages

    @property
    def cookie(self) -> str:
        return "__Host-shop_session" if self.settings.secure_cookies else "shop_session"


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


async def _session(request: Request) -> Session:
    shop = _shop(request)
    session = await shop.sessions.find(request.cookies.get(shop.cookie))
    if session is None:
        raise Problem(401, "no_session")
    return session


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/redeem")
async def enter(request: Request) -> Response:
    return await _enter(request, request.query_params.get("token", ""))


@router.post("/redeem")
async def enter_by_form(request: Request) -> Response:
    return await _enter(request, (await read_fields(request)).get("token", ""))


async def _enter(request: Request, token: str) -> Response:
    """Lets in whom the platform sends. The 303 takes the token out of the address bar."""
    shop = _shop(request)
    try:
        visitor = await shop.tokens.verify(token)
        points = await redeem_once(shop.platform, token, visitor)
    except TokenRejected as rejection:
        log.info("a link was refused: %s", rejection.code)
        raise rejected_link(rejection.code) from None
    except (KeysUnavailable, NoAnswer):
        raise Problem(503, "later", "platform_unavailable") from None
    await shop.store.note_balance(visitor.user_id, Balance(points, shop.clock()))
    cookie = await shop.sessions.open(visitor, request.cookies.get(shop.cookie))
    response: Response = RedirectResponse("/", 303)
    if wants_json(request):
        session = await shop.sessions.find(cookie)
        response = JSONResponse(visit_json(visitor, points, session.csrf_token if session else ""))
    response.set_cookie(
        shop.cookie,
        cookie,
        max_age=shop.settings.session_seconds,
        httponly=True,
        samesite="lax",
        secure=shop.settings.secure_cookies,
    )
    return response


@router.get("/")
async def catalogue(request: Request) -> Response:
    shop, session = _shop(request), await _session(request)
    user_id = session.visitor.user_id
    balance = await present_balance(shop.platform, shop.store, user_id, clock=shop.clock)
    orders = await shop.store.orders_of(user_id, LATEST_ORDERS)
    if wants_json(request):
        return JSONResponse(catalogue_json(session, balance, orders, language(request)))
    # Each form gets an order id of its own: sent twice, it is still one order.
    forms = [(reward, str(uuid4())) for reward in REWARDS.values()]
    return shop.pages.render(
        request, "catalogue.html", session=session, balance=balance, forms=forms, orders=orders, rewards=REWARDS
    )


@router.get("/rewards/{reward_id}")
async def review(request: Request, reward_id: str) -> Response:
    """Shows what is about to be ordered, and the points left after it. Nothing is ordered before the next press."""
    shop, session = _shop(request), await _session(request)
    if reward_id not in REWARDS:
        raise Problem(404, "not_found", "reward_not_found")
    order_id = request.query_params.get("order_id", "")
    balance = await present_balance(shop.platform, shop.store, session.visitor.user_id, clock=shop.clock)
    return shop.pages.render(
        request,
        "review.html",
        session=session,
        balance=balance,
        reward=REWARDS[reward_id],
        # Reloaded, or come back to, it is still one order.
        order_id=order_id if ORDER_ID.fullmatch(order_id) else str(uuid4()),
    )


@router.post("/orders")
async def place_order(request: Request) -> Response:
    shop, session = _shop(request), await _session(request)
    fields = await read_fields(request)
    if not hmac.compare_digest(fields.get("csrf_token", "").encode(), session.csrf_token.encode()):
        raise Problem(403, "form", "bad_csrf_token")
    order_id, reward_id = fields.get("order_id") or str(uuid4()), fields.get("reward_id", "")
    if not ORDER_ID.fullmatch(order_id):
        raise Problem(400, "form", "malformed_order_id")
    if reward_id not in REWARDS:
        raise Problem(404, "not_found", "reward_not_found")
    lang, user_id = language(request), session.visitor.user_id
    known = await shop.store.order(order_id) is not None
    order = await shop.checkout.place(
        Order(
            order_id=order_id,
            user_id=user_id,
            reward_id=reward_id,
            points=REWARDS[reward_id].points,
            description=text("order.description", lang, reward=text(f"reward.{reward_id}.name", lang)),
            placed_at=shop.clock(),
        ),
        patience_seconds=shop.settings.patience_seconds,
    )
    if order.user_id != user_id or order.reward_id != reward_id:
        raise Problem(409, "other_order", "order_id_reused")
    where = f"/orders/{order_id}"
    if wants_json(request):
        balance = await present_balance(shop.platform, shop.store, user_id, clock=shop.clock)
        return JSONResponse(order_json(order, balance, lang), 200 if known else 201, {"Location": where})
    return RedirectResponse(where, 303)


@router.post("/webhooks/points")
async def take_event(request: Request) -> Response:
    """Answers as soon as the event is on disk; what follows from it is done afterwards."""
    shop = _shop(request)
    if shop.inbox is None:
        raise Problem(404, "not_found")
    try:
        release = await shop.inbox.take(await read_body(request), request.headers)
    except NotFromPlatform:
        return JSONResponse({"code": "invalid_signature"}, 400, media_type="application/problem+json")
    background = BackgroundTask(shop.checkout.hear, release) if release else None
    return Response(status_code=204, background=background)


@router.get("/orders/{order_id}")
async def order_page(request: Request, order_id: str) -> Response:
    shop, session = _shop(request), await _session(request)
    order = await shop.store.order(order_id)
    if order is None or order.user_id != session.visitor.user_id:
        raise Problem(404, "not_found", "order_not_found")
    balance = await present_balance(shop.platform, shop.store, order.user_id, clock=shop.clock)
    if wants_json(request):
        return JSONResponse(order_json(order, balance, language(request)))
    return shop.pages.render(
        request, "order.html", session=session, balance=balance, order=order, reward=REWARDS.get(order.reward_id)
    )


@router.get("/help/{page}")
async def explain(request: Request, page: str) -> Response:
    """The text of a problem page by itself, so that it can be read in the other language without the old link."""
    if page not in PAGES:
        raise Problem(404, "not_found")
    return await _problem_page(request, Problem(200, page))


async def defect_page(request: Request) -> Response:
    """What a person sees of a defect in the shop: nothing of the inside."""
    return await _problem_page(request, Problem(500, "internal"))


def add_problem_pages(app: FastAPI) -> None:
    async def on_problem(request: Request, error: Exception) -> Response:
        return await _problem_page(request, error if isinstance(error, Problem) else Problem(500, "internal"))

    async def on_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        known = {404: Problem(404, "not_found"), 405: Problem(405, "not_found", "method_not_allowed")}
        response = await _problem_page(request, known.get(status, Problem(status, "internal")))
        response.headers.update((isinstance(error, HTTPException) and error.headers) or {})
        return response

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http_error)


async def _problem_page(request: Request, problem: Problem) -> Response:
    shop, lang = _shop(request), language(request)
    if wants_json(request):
        body = {
            "type": "about:blank",
            "title": text(f"problem.{problem.page}.title", lang),
            "status": problem.status,
            "detail": text(f"problem.{problem.page}.text", lang),
            "code": problem.code,
        }
        response: Response = JSONResponse(body, problem.status, media_type="application/problem+json")
    else:
        session = await shop.sessions.find(request.cookies.get(shop.cookie))
        response = shop.pages.render(
            request, "problem.html", problem.status, problem=problem, session=session, here=f"/help/{problem.page}"
        )
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Session realm="rewards shop"'
    if problem.status == 503:
        response.headers["Retry-After"] = "10"
    return response
