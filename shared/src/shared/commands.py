"""The commands of a service, as each `__main__` offers them."""

import typer

from shared.logs import log_to_standard_error


def service_commands(about: str) -> typer.Typer:
    """A command line that prints results on standard output and log lines on standard error.

    `serve` sends its log lines to standard output again, where containers look for them.
    """
    return typer.Typer(help=about, callback=log_to_standard_error, no_args_is_help=True, add_completion=False)
