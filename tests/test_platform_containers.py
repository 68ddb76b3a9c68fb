"""What the containers' files say fits what the code says; that they run is tried by `deploy/containers/trouble.py`."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_platform import services
from pydantic.fields import FieldInfo

from .running_platform import REPOSITORY, SERVICES

PREFIXES = {service.name: service.prefix for service in services.SERVICES}
#: What recomputes the books of the services that have some.
WATCHES = {"points-ledger-verify", "sso-issuer-verify", "partner-onboarding-verify"}
#: Names of metrics are made of these and nothing else in the dashboards is.
METRIC = re.compile(
    r"\b(?:backup|build|chore|database|event_loop|events|http|issuer|ledger|group_commit|neighbour|onboarding|readiness"
    r"|refusals|seals|sign_ins|tokens|verify|worker)_[a-z_]+\b"
)
SUFFIXES = {
    "Counter": ("_total",),
    "Gauge": ("",),
    **dict.fromkeys(("Histogram", "HistogramMetricFamily"), ("_bucket", "_count", "_sum")),
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return read


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (REPOSITORY / "deploy" / "Dockerfile").read_text()


def settings_of(service: str) -> dict[str, FieldInfo]:
    """setting → what its class says of it."""
    found: dict[str, FieldInfo] = import_module(f"{service.replace('-', '_')}.settings").Settings.model_fields
    return found


def secrets_of(container: dict[str, Any]) -> set[str]:
    """The names of the files in /run/secrets."""
    return {each if isinstance(each, str) else each["target"] for each in container.get("secrets", [])}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_what_it_must_know_and_nothing_that_it_does_not_read(
    compose: dict[str, Any], service: str
) -> None:
    prefix, fields = PREFIXES[service], settings_of(service)
    known = {prefix + name.upper() for name in fields}
    required = {prefix + name.upper() for name, field in fields.items() if field.is_required()}
    owners = f"{prefix}MIGRATION_DATABASE_URL"
    container = compose["services"][service]
    told = set(container["environment"]) | {secret.upper() for secret in secrets_of(container)}
    assert told - known == {f"{prefix}SECRETS_DIR"}
    assert required - told == set()
    # What serves must not be able to change the tables, and what migrates knows no other secret of the service.
    assert owners not in told
    job = compose["services"][f"{service}-migrate"]
    assert {secret.upper() for secret in secrets_of(job)} == {f"{prefix}DATABASE_URL", owners}


def test_each_service_finds_the_others_where_the_list_says(compose: dict[str, Any]) -> None:
    for service in services.SERVICES:
        told = compose["services"][service.name]["environment"]
        for other in services.asked_by(service):
            url = f"http://{other.name}:{8000 + other.offset}"
            assert told[f"{service.prefix}{other.address_variable}"] == url
        port = f"{service.name}:{8000 + service.offset}"
        assert compose["services"]["gateway"]["environment"][service.gateway_variable] == port


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_when_its_database_is_up_to_date(compose: dict[str, Any], service: str) -> None:
    job = compose["services"][f"{service}-migrate"]
    assert compose["services"][service]["depends_on"] == {
        f"{service}-migrate": {"condition": "service_completed_successfully"}
    }
    assert job["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert (job["command"], job["restart"]) == (["migrate"], "no")
    assert job["image"] == compose["services"][service]["image"]


def test_every_container_can_do_as_little_as_possible(compose: dict[str, Any]) -> None:
    for name, container in compose["services"].items():
        assert container["user"] == "${PLATFORM_USER:-10001:10001}", name
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in container, name
        assert container["pids_limit"] <= 512, name
        assert container["mem_limit"] in {"1g", "4g"}, name
        assert container["ulimits"] == {"core": 0}, name


def test_a_service_believes_the_gateway_alone_and_runs_in_production_unless_told(compose: dict[str, Any]) -> None:
    address = compose["services"]["gateway"]["networks"]["inside"]["ipv4_address"]
    for service in services.SERVICES:
        told = compose["services"][service.name]["environment"]
        assert told[f"{service.prefix}TRUSTED_PROXIES"] == f"{address}/32"
        assert told[f"{service.prefix}MODE"] == "${MODE:-production}"
    assert {name for name, network in compose["networks"].items() if network.get("internal")} == {"inside", "data"}


def test_only_the_gateway_leads_from_outside_to_the_services(compose: dict[str, Any]) -> None:
    networks = {name: set(container.get("networks", [])) for name, container in compose["services"].items()}
    published = {name for name, container in compose["services"].items() if "ports" in container}
    assert published == {"gateway", "rewards-shop", "partner-pages", "grafana"}
    assert {name for name, of in networks.items() if {"front", "inside"} <= of} == {"gateway"}
    assert {name for name, of in networks.items() if "data" in of and "inside" in of} == set(SERVICES)
    assert {name for name, of in networks.items() if "data" in of and "monitoring" in of} == WATCHES
    assert networks["postgres"] == {"data"}
    for name in ("rewards-shop", "partner-pages"):
        assert networks[name] == {"front"}


def test_what_is_opened_is_open_to_this_machine_alone(compose: dict[str, Any]) -> None:
    for container in compose["services"].values():
        for port in container.get("ports", []):
            assert port.startswith("${PUBLISH:-127.0.0.1}:${PORT_"), port


def test_the_gateway_is_told_only_what_its_file_asks_for(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\{\$(GATEWAY_[A-Z_]+)", (REPOSITORY / "deploy" / "gateway" / "Caddyfile").read_text()))
    told = {name for name in compose["services"]["gateway"]["environment"] if name.startswith("GATEWAY_")}
    assert told - asked == set()
    assert asked - told == {"GATEWAY_IDLE_SECONDS", "GATEWAY_LOG_LEVEL", "GATEWAY_PROCESSES"}


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_its_image(compose: dict[str, Any], dockerfile: str, service: str) -> None:
    built = compose["services"][service]["build"]
    assert built["args"]["SERVICE"] == service
    assert built["dockerfile"] == "deploy/Dockerfile"
    (stage,) = re.findall(rf"^FROM runtime AS {service}\n(.*?)\n\n", dockerfile, re.MULTILINE | re.DOTALL)
    prefix, package = PREFIXES[service], service.replace("-", "_")
    port = settings_of(service)["port"].default
    assert f"ENV {prefix}HOST=0.0.0.0" in stage
    assert f"EXPOSE {port}" in stage
    assert f'CMD ["python", "-I", "/opt/is-alive.py", "{prefix}PORT", "{port}"]' in stage
    assert f'ENTRYPOINT ["python", "-m", "{package}"]' in stage


def test_each_member_of_the_workspace_that_has_an_image_is_copied_into_its_build(dockerfile: str) -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text()
    for service in SERVICES:
        assert f"COPY services/{service}/pyproject.toml services/{service}/" in dockerfile
    for path in ("pyproject.toml", "uv.lock", "shared", "services", "deploy/rewards-shop"):
        assert f"!{path}\n" in ignored


def test_no_image_holds_the_tools_of_tests_or_the_local_platform(dockerfile: str) -> None:
    """The build sees neither, and no distribution that an image installs asks for them."""
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for member in ("testing", "deploy/local"):
        assert not any(place == member or member.startswith(f"{place}/") for place in allowed)
        assert f"COPY {member}" not in dockerfile
    members = [*(f"services/{service}" for service in SERVICES), "shared", "deploy/rewards-shop"]
    for member in members:
        project = tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())["project"]
        optional = [needed for extra in project.get("optional-dependencies", {}).values() for needed in extra]
        for needed in [*project["dependencies"], *optional]:
            assert not re.match(r"points-platform-(testing|local)\b|pytest|hypothesis|pixeltable", needed), member


def test_each_distribution_has_a_name_of_this_project_and_is_never_uploaded() -> None:
    for file in ("pyproject.toml", "*/pyproject.toml", "*/*/pyproject.toml"):
        for path in REPOSITORY.glob(file):
            project = tomllib.loads(path.read_text())["project"]
            assert project["name"].startswith(("points-platform-", "points-integration-platform")), path
            assert project["classifiers"] == ["Private :: Do Not Upload"], path


def test_the_images_are_built_with_the_uv_that_everybody_has(dockerfile: str) -> None:
    (version,) = re.findall(r"^ARG UV_VERSION=(\S+)", dockerfile, re.MULTILINE)
    assert f"UV_VERSION={version} " in (REPOSITORY / "deploy" / "local" / "set-up").read_text()


# ——— figures ———


def test_prometheus_asks_every_service_at_its_port() -> None:
    configured = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "prometheus.yml").read_text())
    asked = {job["job_name"]: job["static_configs"][0]["targets"] for job in configured["scrape_configs"]}
    assert set(asked.pop("verify")) == {f"{watch}:9101" for watch in WATCHES}
    assert asked == {service: [f"{service}:{settings_of(service)['port'].default}"] for service in SERVICES}


@pytest.mark.parametrize("watch", sorted(WATCHES))
def test_the_books_are_verified_again_and_again(compose: dict[str, Any], watch: str) -> None:
    """By a container that knows the database and no other secret."""
    container, service = compose["services"][watch], watch.removesuffix("-verify")
    assert container["command"][:2] == ["verify", "--watch"]
    assert container["image"] == compose["services"][service]["image"]
    assert container["restart"] == "unless-stopped"
    assert {secret.upper() for secret in secrets_of(container)} == {f"{PREFIXES[service]}DATABASE_URL"}
    assert set(container["environment"]) == {f"{PREFIXES[service]}SECRETS_DIR"}
    assert not container.get("volumes")
    assert container["depends_on"] == compose["services"][service]["depends_on"]


def test_the_dashboards_ask_for_figures_that_there_are() -> None:
    exported = set(metrics())
    assert {"http_request_seconds_bucket", "group_commit_waiting"} <= exported
    for title, expression in queries():
        asked = set(METRIC.findall(expression))
        assert asked or "up{" in expression, title
        assert asked - exported == set(), title


def test_the_dashboards_show_what_must_be_watched() -> None:
    expressions = "\n".join(expression for _, expression in queries())
    for figure in (
        *("http_request_seconds_count", "http_request_seconds_bucket", "ledger_held_points"),
        *("ledger_oldest_hold_seconds", "group_commit_waiting", "group_commit_batch_size_sum"),
        *("issuer_signing_key_age_seconds", "tokens_signing_key_age_seconds"),
        *("events_outbox_lag_seconds", "events_delivery_lag_seconds", "events_endpoint_failing_seconds"),
    ):
        assert figure in expressions


def test_every_alarm_asks_for_figures_that_there_are_and_leads_to_its_runbook() -> None:
    exported = set(metrics())
    for rule in alarms():
        asked = set(METRIC.findall(rule["expr"]))
        assert asked or "up{" in rule["expr"], rule["alert"]
        assert asked - exported == set(), rule["alert"]
        page, _, section = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (REPOSITORY / page).read_text(), re.MULTILINE)
        assert section in {heading.lower().replace(" ", "-") for heading in headings}, rule["alert"]


def test_every_alarm_is_tried_and_read_by_prometheus(compose: dict[str, Any]) -> None:
    rules = REPOSITORY / "deploy" / "monitoring" / "rules"
    tried = [
        each["alertname"]
        for file in rules.glob("*.test.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for each in test["alert_rule_test"]
        if each["exp_alerts"]
    ]
    assert sorted(tried) == sorted(rule["alert"] for rule in alarms())
    mounted = "\n".join(compose["services"]["prometheus"]["volumes"])
    for file in files_of_alarms():
        assert f"./deploy/monitoring/rules/{file.name}:/etc/prometheus/rules/{file.name}:ro" in mounted


def test_every_panel_asks_the_data_source_that_is_provided() -> None:
    monitoring = REPOSITORY / "deploy" / "monitoring" / "grafana"
    provided = yaml.safe_load((monitoring / "provisioning" / "datasources" / "prometheus.yml").read_text())
    (source,) = provided["datasources"]
    for file in (monitoring / "dashboards").glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}


def queries() -> Iterator[tuple[str, str]]:
    """Title and expression of every query of every panel."""
    files = sorted((REPOSITORY / "deploy" / "monitoring" / "grafana" / "dashboards").glob("*.json"))
    assert files
    for file in files:
        for panel in json.loads(file.read_text())["panels"]:
            yield from ((panel["title"], target["expr"]) for target in panel.get("targets", []))


def files_of_alarms() -> list[Path]:
    rules = REPOSITORY / "deploy" / "monitoring" / "rules"
    return sorted(file for file in rules.glob("*.yml") if not file.name.endswith(".test.yml"))


def alarms() -> Iterator[dict[str, Any]]:
    """Every rule of every file."""
    for file in files_of_alarms():
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def metrics() -> Iterator[str]:
    """What the code exports, as Prometheus names it."""
    for place in ("shared/src", "services", "deploy/local/src"):
        for file in (REPOSITORY / place).rglob("*.py"):
            source = file.read_text()
            if "from prometheus_client" in source:
                yield from _metrics_of(ast.parse(source))


def _metrics_of(module: ast.Module) -> Iterator[str]:
    kinds = {
        alias.asname or alias.name: alias.name
        for node in module.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prometheus_client"
        for alias in node.names
    }
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds and call.args:
            name = call.args[0]
            if isinstance(name, ast.Constant):
                yield from (f"{name.value}{suffix}" for suffix in SUFFIXES.get(kinds[call.func.id], ()))


def test_dashboards_ask_for_a_sign_in_and_metrics_have_no_other_way_out(compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert grafana["environment"]["GF_USERS_ALLOW_SIGN_UP"] == "false"
    # Made at random for each installation, as all secrets are.
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert grafana["secrets"] == ["grafana_password"]
    assert "ports" not in compose["services"]["prometheus"]
