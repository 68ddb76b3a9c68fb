"""The platform on three nodes under Patroni, one of which is killed: the short form of `make failover`."""

import os
import subprocess
import sys

from tests.running_platform import REPOSITORY


def test_nothing_that_was_acknowledged_is_lost_when_the_leading_node_is_killed() -> None:
    subprocess.run([REPOSITORY / "deploy" / "local" / "set-up", "deploy/scale"], check=True)
    played = subprocess.run(
        [sys.executable, "-W", "error", "-m", "deploy.scale", "node"],
        cwd=REPOSITORY,
        # It ends with us, however we end.
        env={**os.environ, "MAKELEVEL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stdout.splitlines()[-1].endswith("acknowledged writes none is lost. Balances and books agree.")
