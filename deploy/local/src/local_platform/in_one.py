"""Runs one command line after another, as `python -m` would, within a single Python.

The services' commands are real programs, and each start of one costs a second of processor time for its imports;
the demonstration needs some twenty. A line of JSON comes in for each, and one goes out: see `commands.py`.
"""

import io
import json
import os
import runpy
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from typing import Any


def run(module: str, arguments: list[str], given: str) -> dict[str, Any]:
    """The result of `python -m module arguments` with `given` on its standard input."""
    output, errors = _Written(), _Written()
    sys.argv = [module, *arguments]
    sys.stdin = _stream(io.BytesIO(given.encode()))
    with redirect_stdout(_stream(output)), redirect_stderr(_stream(errors)):
        try:
            runpy.run_module(module, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = _code(end)
        except Exception:  # shown and told by the exit code, as Python itself does it
            traceback.print_exc()
            code = 1
    return {"code": code, "output": output.text(), "errors": errors.text()}


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


class _Written(io.BytesIO):
    """What a command has written, also when it has closed it."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = b""

    def close(self) -> None:
        self._kept = self._kept or self.getvalue()
        super().close()

    def text(self) -> str:
        return (self._kept if self.closed else self.getvalue()).decode(errors="replace")


def _stream(file: io.BytesIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8", write_through=True)


def main() -> None:
    # Copies: what a command does to its standard streams must not touch these.
    with os.fdopen(os.dup(0)) as requests, os.fdopen(os.dup(1), "w") as answers:
        for line in requests:
            answers.write(json.dumps(run(**json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
