"""A service that is nothing but its pages, for the tests of what all pages have in common."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from fastapi import FastAPI
from pydantic_settings import SettingsConfigDict
from shared.errors import NotFound, Refusal, Unavailable
from shared.service_app import create_service_app
from shared.web.forms import read_form
from shared.web.pages import Pages
from shared.web.refusals import page_or_problem
from shared.web.settings import PageSettings
from shared.web.visitors import Visitor, welcome
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

PACKAGE = "sample_house_of_pages"
FORM = """{% extends "layout.html" %}
{% block title %}Form{% endblock %}
{% block content %}
<h1>{{ t("form.title", name=name) }}</h1>
<form method="post"><input type="hidden" name="{{ csrf_field }}" value="{{ csrf_token() }}"><button>Go</button></form>
{% endblock %}
"""
PLAIN = """{% extends "layout.html" %}
{% block title %}Plain{% endblock %}
{% block content %}{{ language }}{% endblock %}
"""


MOMENT = datetime(2026, 11, 29, 13, 5, 7, tzinfo=UTC)


class Settings(PageSettings):
    model_config = SettingsConfigDict(extra="forbid")


def make_package(directory: Path) -> None:
    """Writes the package with the sample's templates and texts into `directory`, which is on the path."""
    package = directory / PACKAGE
    for folder in ("templates", "texts", "static"):
        (package / folder).mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "templates" / "form.html").write_text(FORM)
    (package / "templates" / "plain.html").write_text(PLAIN)
    (package / "templates" / "time.html").write_text("{{ time(moment) }}")
    (package / "static" / "go.js").write_text("document.title = 'ran'")
    for language, greeting, tired in (("en", "Hello", "Tired"), ("de", "Hallo", "Müde")):
        texts = f'[form]\ntitle = "{greeting} {{name}}"\n[refused]\ntired_title = "{tired}"\ntired = "x"\n'
        (package / "texts" / f"{language}.toml").write_text(texts)


class Tired(Unavailable):
    code = "tired"


@dataclass(frozen=True, slots=True)
class House:
    app: FastAPI
    pages: Pages


def make_house(settings: Settings) -> House:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    def render(refusal: Refusal, request: Request) -> Response:
        return page_or_problem(pages, refusal, request, by_default=request.scope["path"].startswith("/only-pages"))

    app = create_service_app(settings, title="sample", description="", lifespan=lifespan, readiness={}, render=render)
    pages = Pages(
        PACKAGE, settings, app.state.proxies, static_path="/here/static", form_key=b"k" * 32, scripts=("go.js",)
    )

    async def form(request: Request) -> Response:
        return pages.render(request, "form.html", name="<b>")

    async def post(request: Request) -> Response:
        fields = await read_form(request)
        pages.form_tokens.check(request, fields, from_before_sign_in="early" in request.query_params)
        if "echo" in request.query_params:
            return PlainTextResponse(str(len(fields["a"])))
        return pages.redirect("/form")

    async def plain(request: Request) -> Response:
        if "as" in request.query_params:
            welcome(request, Visitor("acme", frozenset(request.query_params["as"].split()), "Acme & Sons"))
        return pages.render(request, "plain.html", leads_away="away" in request.query_params)

    async def tell_time(request: Request) -> Response:
        if "as" in request.query_params:
            welcome(request, Visitor("acme"))
        return pages.render(request, "time.html", moment=MOMENT)

    async def german_alone(request: Request) -> Response:
        return pages.render(request, "plain.html", among=["de"])

    async def refuse(_request: Request) -> Response:
        raise Tired

    async def nothing(_request: Request) -> Response:
        raise NotFound("There is nothing here.")

    app.router.routes += [
        Route("/form", form, methods=["GET"]),
        Route("/form", post, methods=["POST"]),
        Route("/plain", plain),
        Route("/time", tell_time),
        Route("/german", german_alone),
        Route("/tired", refuse),
        Route("/only-pages/tired", refuse),
        Route("/nothing", nothing),
        pages.static.route(),
    ]
    return House(app, pages)


def client_of(house: House, url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(house.app, raise_app_exceptions=False), base_url=url)
