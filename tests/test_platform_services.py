"""The list of services: what is made from it, and what is written down elsewhere and must agree with it."""

import importlib
import re

import pytest
from fastapi import FastAPI
from local_platform.gateway import CADDYFILE, with_present_routes
from local_platform.services import SERVICES, Service, owners_of
from typer.testing import CliRunner

from .every_service import PublicRoute, build_every_service, public_routes
from .running_platform import REPOSITORY


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[Service, FastAPI]:
    return build_every_service(tmp_path_factory.mktemp("services"))


@pytest.fixture(scope="module")
def routes(apps: dict[Service, FastAPI]) -> list[PublicRoute]:
    found = [route for service, app in apps.items() for route in public_routes(service, app)]
    assert {route.service for route in found} == set(SERVICES)
    return found


def test_every_public_path_leads_through_the_gateway_to_its_service(routes: list[PublicRoute]) -> None:
    wrong = {str(route): [owner.name for owner in owners_of(route.example)] for route in routes}
    for route in routes:
        if owners_of(route.example)[:1] == (route.service,):
            del wrong[str(route)]
    assert wrong == {}


def test_no_path_of_the_list_hides_another_services(routes: list[PublicRoute]) -> None:
    """The gateway takes the first service of the list that fits; so must the closest be."""
    for route in routes:
        first = next(service for service in SERVICES if service in owners_of(route.example))
        assert first is owners_of(route.example)[0], route


@pytest.mark.parametrize(
    "path", ["/internal/clients/check", "/metrics", "/healthz", "/readyz", "/docs", "/openapi.json"]
)
def test_what_is_not_public_is_nobodys(path: str) -> None:
    assert owners_of(path) == ()


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/v1/vendors/shop", "points-ledger"),
        ("/v1/holds", "points-ledger"),
        ("/v1/ledger/seals", "points-ledger"),
        ("/eai/v1/receipts/t-1", "points-ledger"),
        ("/eai/v1/reconciliations", "points-ledger"),
        ("/tenants/demo/receipts/jwks.json", "sso-issuer"),
        ("/tenants/demo/jwks.json", "sso-issuer"),
        ("/sso/v1/inspect", "sso-issuer"),
        ("/developers/inspect", "sso-issuer"),
        ("/developers/test-client", "partner-onboarding"),
        ("/password/forgotten", "partner-onboarding"),
        ("/account/statement", "partner-onboarding"),
        ("/v1/users/ada/entitlements", "partner-onboarding"),
        ("/v1/clients/self/secrets", "partner-onboarding"),
        ("/v1/sandbox/clock", "partner-onboarding"),
        ("/events/v1/points", "points-ledger"),
        ("/events/v1/redirects/endpoints", "sso-issuer"),
        ("/events/v1/links", "partner-onboarding"),
        ("/events/v1/tokens", "token-service"),
    ],
)
def test_what_the_contract_names_has_an_owner(path: str, owner: str) -> None:
    assert owners_of(path)[0].name == owner


def test_the_gateways_file_has_the_routes_of_the_list() -> None:
    """Containers mount it as it lies here. `python -m local_platform routes` writes it."""
    assert CADDYFILE.read_text() == with_present_routes(CADDYFILE.read_text())


def test_the_database_of_containers_makes_one_for_each_service() -> None:
    script = (REPOSITORY / "deploy" / "containers" / "postgres" / "create-databases.sh").read_text()
    (named,) = re.findall(r"^for service in (.*); do$", script, re.MULTILINE)
    assert named.split() == [service.database for service in SERVICES]


def test_make_knows_the_services() -> None:
    (named,) = re.findall(r"^SERVICES := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert named.split() == [service.name for service in SERVICES]


def test_each_service_has_its_house_and_its_prefix_and_port(apps: dict[Service, FastAPI]) -> None:
    houses = {path.parent.name for path in (REPOSITORY / "services").glob("*/pyproject.toml")}
    assert houses == {service.name for service in SERVICES}
    for service, app in apps.items():
        settings = app.state.settings
        assert settings.model_config["env_prefix"] == service.prefix
        assert type(settings).model_fields["port"].default == 8000 + service.offset
        fields = type(settings).model_fields
        told = {other.name for other in SERVICES if other.address_variable.lower() in fields}
        assert told == set(service.asks), service.name


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_each_service_has_the_commands_for_its_events(service: Service) -> None:
    cli = importlib.import_module(f"{service.package}.__main__").cli
    shown = CliRunner().invoke(cli, ["events", "--help"])
    assert shown.exit_code == 0, shown.output
    for command in ("endpoints", "deliveries", "replay", "test", "disable", "enable"):
        assert f" {command} " in shown.stdout
