"""What Kubernetes would be given: rendered, held against the schemas of its kinds, and judged by checkov's policies."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from drills.debian import program
from tests.running_platform import REPOSITORY

HERE: Final = REPOSITORY / "drills" / "kubernetes"
KUBERNETES: Final = REPOSITORY / "deploy" / "kubernetes"
VALIDATOR: Final = "kubernetes-validate==1.37.0"
POLICIES: Final = "checkov==3.3.30"
#: Groups of kinds that come with operators.
CUSTOM: Final = ("postgresql.cnpg.io/", "barmancloud.cnpg.io/", "monitoring.coreos.com/")
NOT_ASKED: Final = {
    "CKV_K8S_11": "a limit of processor time makes a pod stand still while its node is idle",
    "CKV_K8S_15": "images have tags that are never pushed twice",
    "CKV_K8S_43": "digests belong to a registry; the overlays name where to put them",
}


@pytest.fixture(scope="module", params=["small", "large"])
async def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    copy = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    kubectl = program("kubectl", "kubernetes-client")
    version = json.loads(await run(kubectl, "version", "--client", "--output=json"))["clientVersion"]
    if int(version["minor"].rstrip("+")) < 21:
        for file in copy.glob("*/kustomization.yaml"):
            speak_as_before_2021(file)
    return list(yaml.safe_load_all(await run(kubectl, "kustomize", str(copy / request.param))))


async def test_every_manifest_is_of_its_kind(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    await run("npm", "ci", "--no-progress")
    core, custom = of_core(manifests), [each for each in manifests if each["apiVersion"].startswith(CUSTOM)]
    assert await faults_in_core(core, tmp_path) == ""
    said = await run("node", "validate.mjs", given=yaml.dump_all(custom))
    assert said == "no schema: barmancloud.cnpg.io/v1 ObjectStore\n"


async def test_a_misspelt_field_is_found(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    core = of_core(manifests)
    next(each for each in core if each["kind"] == "Deployment")["spec"]["replica"] = 3
    assert "'replica' was unexpected" in await faults_in_core(core, tmp_path)


async def test_policies_find_nothing(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "manifests.yaml").write_text(yaml.dump_all(manifests))
    asked = ("--framework", "kubernetes", "--compact", "--quiet", "--skip-download", "--output", "json")
    said = await run(
        *tool(POLICIES, "checkov"), *asked, "--skip-check", ",".join(NOT_ASKED), "-f", str(tmp_path / "manifests.yaml")
    )
    judged = json.loads(said)
    assert judged["summary"]["passed"] > 300
    assert judged["results"].get("failed_checks", []) == []


def of_core(manifests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in manifests if not each["apiVersion"].startswith(CUSTOM)]


async def faults_in_core(manifests: list[dict[str, Any]], directory: Path) -> str:
    file = directory / "core.yaml"
    file.write_text(yaml.dump_all(manifests))
    done = await asyncio.to_thread(
        subprocess.run,
        [*tool(VALIDATOR, "kubernetes-validate"), "--strict", "--quiet", str(file)],
        check=False,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (said.strip() == ""), said
    return said


def speak_as_before_2021(file: Path) -> None:
    """Debian's kubectl knows the same things by other names."""
    told: Mapping[str, Any] = yaml.safe_load(file.read_text())
    bases = [place for place in told["resources"] if not place.endswith(".yaml")]
    patches = [patch["path"] for patch in told.get("patches", [])]
    rest = {name: value for name, value in told.items() if name != "patches"}
    resources = [place for place in told["resources"] if place.endswith(".yaml")]
    file.write_text(yaml.dump({**rest, "bases": bases, "resources": resources, "patchesStrategicMerge": patches}))


def tool(pinned: str, command: str) -> tuple[str, ...]:
    """A program of the package index, in an environment of its own, whose installation says nothing."""
    own = REPOSITORY / ".tools" / "uv" / "bin" / "uv"
    return (str(own) if own.exists() else "uv", "tool", "run", "--quiet", "--from", pinned, command)


async def run(*command: str, given: str | None = None) -> str:
    """What the program prints; fails where it does."""
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=HERE, check=False, capture_output=True, text=True, input=given
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
