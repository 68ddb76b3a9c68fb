"""The command line: `python -m rewards_shop serve`, and `rehearse` for a platform of one's own to try it against."""

import argparse
import logging
import sys

import uvicorn
from pydantic import ValidationError

from rewards_shop.app import create_app
from rewards_shop.rehearsal.app import create_rehearsal
from rewards_shop.settings import load_settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="rewards_shop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="open the shop, as the SHOP_* environment says")
    rehearse = commands.add_parser("rehearse", help="stand in for the platform, to try the shop without one")
    rehearse.add_argument("--port", type=int, default=8011)
    rehearse.add_argument("--shop-url", default="http://localhost:8010")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if arguments.command == "serve":
        return serve()
    url = f"http://localhost:{arguments.port}"
    uvicorn.run(create_rehearsal(url, arguments.shop_url), host="127.0.0.1", port=arguments.port)
    return 0


def serve() -> int:
    try:
        settings = load_settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = "_".join(("shop", *map(str, problem["loc"]))).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)
        return 2
    # Uvicorn's access log writes the query, and so would write tokens; the shop writes its own (web.py).
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
