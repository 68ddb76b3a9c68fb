"""What every test may use: a real PostgreSQL, service keys, a register, a tenant of its own."""

from pathlib import Path

import pytest
from shared.logs import log_to_standard_error

# As in a command: what a test reads from standard output is what the code under test printed there.
log_to_standard_error()
pytest.register_assert_rewrite("platform_testing")
pytest_plugins = ["platform_testing.fixtures"]


# First, since the distribution of tests reads the marks in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps together, on one processor, what shares something costly: a file, or the one running platform."""
    for item in items:
        place = item.path.relative_to(config.rootpath)
        group = "platform" if place.is_relative_to(Path("tests")) else str(place)
        item.add_marker(pytest.mark.xdist_group(group))
