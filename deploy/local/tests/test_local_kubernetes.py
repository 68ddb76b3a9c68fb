"""The manifests for Kubernetes say of the services what the list of services says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_platform.installation import Installation
from local_platform.services import SERVICES, Service

from .service_settings import SETTINGS, port_of

BASE = Path(__file__).resolve().parents[2] / "kubernetes" / "base"
NAME = "app.kubernetes.io/name"


def manifests(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((BASE / file).read_text()))


def deployment(service: Service) -> dict[str, Any]:
    (found,) = (each for each in manifests(f"{service.name}.yaml") if each["kind"] == "Deployment")
    return found


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    return dict(manifest["spec"]["template"]["spec"])


@pytest.fixture(params=SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    return request.param  # type: ignore[no-any-return]  # pytest does not type parameters


def policies(name: str) -> Iterator[dict[str, Any]]:
    return (each["spec"] for each in manifests("network-policies.yaml") if each["metadata"]["name"] == name)


def peers(rules: list[dict[str, Any]], direction: str) -> set[tuple[str, int]]:
    return {
        (peer["podSelector"]["matchLabels"][NAME], port["port"])
        for rule in rules
        for peer in rule.get(direction, [])
        if "podSelector" in peer
        for port in rule["ports"]
    }


def test_a_service_is_reached_by_the_gateway_and_by_those_that_ask_it_and_reaches_those_that_it_asks(
    service: Service,
) -> None:
    (policy,) = policies(service.name)
    assert policy["podSelector"] == {"matchLabels": {NAME: service.name}}
    askers = {"gateway"} | {other.name for other in SERVICES if service.name in other.asks}
    assert peers(policy["ingress"], "from") == {(asker, port_of(service)) for asker in askers}
    asked = {(other.name, port_of(other)) for other in SERVICES if other.name in service.asks}
    assert peers(policy["egress"], "to") == asked | {("valkey", 6379)}


def test_nobody_else_is_reached_and_the_gateway_reaches_the_services_alone() -> None:
    (nothing,) = policies("nothing-else")
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (gateway,) = policies("gateway")
    assert peers(gateway["egress"], "to") == {(each.name, port_of(each)) for each in SERVICES}


def test_its_variables_are_settings_and_name_the_services_that_it_asks(service: Service) -> None:
    (container,) = pod(deployment(service))["containers"]
    variables = {each["name"]: each for each in container["env"]}
    known = {f"{service.prefix}{name.upper()}" for name in SETTINGS[service.name].model_fields}
    assert variables.keys() <= known | {f"{service.prefix}SECRETS_DIR"}
    for other in SERVICES:
        if other.name in service.asks:
            address = variables[f"{service.prefix}{other.prefix}URL"]["value"]
            assert address == f"http://{other.name}:{port_of(other)}"
    assert container["ports"] == [{"name": "http", "containerPort": port_of(service)}]


def test_its_secrets_are_those_that_the_installation_makes(service: Service, tmp_path: Path) -> None:
    Installation(tmp_path, "database-rw:5432", "").make()
    made = {path.parent.name: {file.name for file in path.parent.iterdir()} for path in tmp_path.glob("*/*")}
    mounted = []
    for manifest in (deployment(service), *manifests(f"{service.name}-migrate.yaml")):
        (volume,) = (each for each in pod(manifest)["volumes"] if each["name"] == "secrets")
        mounted += [source["secret"] for source in volume["projected"]["sources"]]
    assert {secret["name"] for secret in mounted} == {service.name, f"{service.name}-owner", "service-peers"}
    for secret in mounted:
        assert {item["key"] for item in secret.get("items", [])} <= made[secret["name"]]


def test_the_four_differ_in_name_port_and_settings_alone() -> None:
    def common(service: Service) -> str:
        told = deployment(service)
        (container,) = pod(told)["containers"]
        del container["env"]
        text = yaml.dump(told)
        for own in (service.name, str(port_of(service)), service.prefix.lower()):
            text = text.replace(own, "own")
        return text

    assert len({common(each) for each in SERVICES}) == 1


def test_no_pod_has_rights() -> None:
    everything = [
        *(deployment(each) for each in SERVICES),
        *(job for each in SERVICES for job in manifests(f"{each.name}-migrate.yaml")),
        manifests("gateway.yaml")[0],
        manifests("valkey.yaml")[0],
    ]
    for manifest in everything:
        own = pod(manifest)
        assert own["enableServiceLinks"] is False
        assert own["automountServiceAccountToken"] is False
        assert own["securityContext"]["runAsNonRoot"] is True
        for container in own["containers"]:
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
