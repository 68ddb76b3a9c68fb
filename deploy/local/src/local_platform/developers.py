"""The pages for developers: built by a program of their own, beside the start of everything else."""

import asyncio
import sys
from pathlib import Path


class PagesNotBuilt(Exception):
    """The pages for developers could not be built; the message says what the program said."""


async def build_pages(directory: Path, public_url: str) -> None:
    """Builds the pages into `directory`, unless they are there and nothing has changed.

    Raises:
        PagesNotBuilt
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "developer_pages", str(directory), "--public-url", public_url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        last = "\n".join(f"  | {line}" for line in said.decode(errors="replace").strip().splitlines()[-12:])
        raise PagesNotBuilt(f"python -m developer_pages ended with exit code {process.returncode}\n{last}")
