"""What each image is made of: a CycloneDX bill of materials from uv.lock, with the licence of each package.

uv knows names, versions, hashes and who needs whom; the licences come from the packages that are installed here. The
same lock gives the same bill, letter by letter.
"""

import json
import shutil
import subprocess
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final

from local_platform.services import SERVICES, SHOP

_REPOSITORY: Final = Path(__file__).parents[4]
IMAGES: Final = (*(service.name for service in SERVICES), SHOP)
_OURS: Final = "points-platform-"
#: As their projects state it; of extras that are not installed for development.
_STATED: Final = {"async-timeout": "Apache-2.0", "valkey": "MIT"}
#: What older packages call the licences that SPDX names.
_SPDX: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache Software License; BSD License": "Apache-2.0 OR BSD-2-Clause",
    "Apache Software License; MIT License": "Apache-2.0 OR MIT",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT License; Apache Software License": "MIT OR Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


class NoUv(Exception):
    """There is no uv, which `make set-up` installs."""


def bill_of(image: str) -> dict[str, Any]:
    """The bill of one image's Python packages.

    Raises:
        NoUv: it cannot be made.
    """
    uv = shutil.which("uv") or shutil.which(_REPOSITORY / ".tools" / "uv" / "bin" / "uv")
    if uv is None:
        raise NoUv("needs uv: run `make set-up`")
    # What `deploy/Dockerfile` installs.
    chosen = ("--frozen", "--no-dev", "--all-extras", "--package", f"{_OURS}{image}")
    written = ("--format", "cyclonedx1.5", "--preview-features", "sbom-export", "--quiet")
    command = [uv, "export", *chosen, *written]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603 — our own
    bill: dict[str, Any] = json.loads(done.stdout)
    for component in bill["components"]:
        expression = licence_of(component["name"])
        if expression is not None:
            component["licenses"] = [{"expression": expression}]
    # Both differ from run to run.
    del bill["metadata"]["timestamp"], bill["serialNumber"]
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(bill, sort_keys=True)).urn
    return bill


def licence_of(package: str) -> str | None:
    """An SPDX expression; None for what is not known here."""
    if package.startswith(_OURS):
        return "Apache-2.0"
    try:
        stated = metadata(package)
    except PackageNotFoundError:
        return _STATED.get(package)
    if "License-Expression" in stated:
        return stated["License-Expression"]
    classifiers = [each for each in stated.get_all("Classifier", []) if each.startswith("License :: ")]
    names = "; ".join(each.rpartition(" :: ")[2] for each in classifiers)
    if not names and "License" in stated:
        names = stated["License"]
    return _SPDX.get(names, names)


def write_bills(directory: Path) -> list[Path]:
    """Writes `<image>.cdx.json` for every image, and returns their paths.

    Raises:
        NoUv: it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for image in IMAGES:
        path = directory / f"{image}.cdx.json"
        path.write_text(json.dumps(bill_of(image), indent=2) + "\n")
        written.append(path)
    return written
