"""Which build of a service runs."""

import os
from importlib.metadata import PackageNotFoundError, version

#: What an image was built from; its Dockerfile sets it.
_REVISION = "BUILD_REVISION"


def build_of(service: str) -> str:
    """The version of a service's package, and the revision that its image was built from: `0.1.0+4f2a91c`."""
    try:
        found = version(f"points-platform-{service}")
    except PackageNotFoundError:
        found = "0"
    revision = os.environ.get(_REVISION)
    return f"{found}+{revision}" if revision else found
