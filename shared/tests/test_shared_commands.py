"""What the commands of all services have in common."""

import structlog
import typer
from shared.commands import service_commands
from typer.testing import CliRunner


def test_standard_output_holds_the_result_alone_and_log_lines_go_to_standard_error() -> None:
    cli = service_commands("A sample service.")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())

    @cli.command()
    def count() -> None:
        structlog.get_logger().warning("retry_scheduled")
        typer.echo("3")

    @cli.command()
    def other() -> None: ...

    ended = CliRunner().invoke(cli, ["count"])
    assert ended.stdout == "3\n"
    assert "retry_scheduled" in ended.stderr
