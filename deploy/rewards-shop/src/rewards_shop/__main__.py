"""The command line: `python -m rewards_shop serve`, `reconcile` once a day, `rehearse` for a platform to try it on."""

import argparse
import asyncio
import json
import logging
import sys
import time

import uvicorn
from pydantic import ValidationError

from rewards_shop.app import create_app, platform_http
from rewards_shop.platform_client import NoAnswer
from rewards_shop.reconciliation import reconcile
from rewards_shop.rehearsal.app import create_rehearsal
from rewards_shop.settings import ShopSettings, load_settings
from rewards_shop.store import Store


def main() -> int:
    parser = argparse.ArgumentParser(prog="rewards_shop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="open the shop, as the SHOP_* environment says")
    daily = commands.add_parser("reconcile", help="compare the orders with the platform; status 1 if points differ")
    daily.add_argument("--days", type=int, default=31)
    rehearse = commands.add_parser("rehearse", help="stand in for the platform, to try the shop without one")
    rehearse.add_argument("--port", type=int, default=8011)
    rehearse.add_argument("--shop-url", default="http://localhost:8010")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if arguments.command in {"serve", "reconcile"}:
        settings = settings_or_none()
        if settings is None:
            return 2
        return serve(settings) if arguments.command == "serve" else compare(settings, arguments.days)
    url = f"http://localhost:{arguments.port}"
    uvicorn.run(create_rehearsal(url, arguments.shop_url), host="127.0.0.1", port=arguments.port)
    return 0


def settings_or_none() -> ShopSettings | None:
    """None if they are wrong; then standard error says how."""
    try:
        return load_settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = "_".join(("shop", *map(str, problem["loc"]))).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)
        return None


def serve(settings: ShopSettings) -> int:
    # Uvicorn's access log writes the query, and so would write tokens; the shop writes its own (web.py).
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, access_log=False)
    return 0


def compare(settings: ShopSettings, days: int) -> int:
    """Prints what differs, a line each, and the summary; status 1 if anything does, 3 without an answer."""

    async def run() -> int:
        store = Store(settings.state_path)
        try:
            async with platform_http(settings) as http:
                books = await reconcile(http, store, now=time.time(), days=days)
        except NoAnswer as silence:
            print(silence, file=sys.stderr)
            return 3
        finally:
            store.close()
        for finding in books.findings:
            print(json.dumps(finding))
        print(json.dumps({"summary": books.summary}))
        return 1 if books.findings else 0

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
