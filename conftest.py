"""What every test may use: a real PostgreSQL, service keys, a register, a tenant of its own."""

import pytest
from shared.logs import log_to_standard_error
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# As in a command: what a test reads from standard output is what the code under test printed there.
log_to_standard_error()
pytest.register_assert_rewrite("platform_testing")
pytest_plugins = ["platform_testing.fixtures"]


class ByPlace(LoadScopeScheduling):
    """Gives all tests of a file to one process, and all that use the one running platform.

    What a file's tests share, such as a database with its migrations, is then made once. The marks of pytest-xdist
    (`--dist loadgroup`) would say the same, but pytest 9.2 does not see what they write.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the platform" if file.startswith("tests/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlace:
    return ByPlace(config, log)
