"""The tests of a file run in one process, whatever the versions of pytest and pytest-xdist make of each other."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("services/points-ledger/tests/test_ledger_domain.py", "services/sso-issuer/tests/test_issuer_key_domain.py")
RAN = re.compile(r"^\[(gw\d)\].* PASSED (\S+?)::", re.MULTILINE)


def test_each_file_has_one_process_and_each_process_a_file() -> None:
    asked = [sys.executable, "-m", "pytest", "-n", "2", "-v", "-p", "no:cacheprovider", *FILES]
    ended = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    processes = defaultdict(set)
    for process, file in RAN.findall(ended.stdout):
        processes[file].add(process)
    assert sorted(processes) == sorted(FILES)
    assert sorted(processes.values(), key=str) == [{"gw0"}, {"gw1"}]
