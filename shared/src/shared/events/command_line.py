"""`python -m <service> events …`: endpoints and deliveries for operators with shell access.

The same use cases as `/events/v1/{topic}/endpoints`, for the endpoints of all clients.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar, get_args

import typer
from pydantic import TypeAdapter, ValidationError

from shared.errors import Refusal
from shared.settings import ServiceSettings, load
from shared.times import Instant, iso

if TYPE_CHECKING:
    from shared.db import Database
    from shared.events.build import Events
    from shared.events.domain import Delivery, Endpoint, Reader

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")

EndpointId = Annotated[str, typer.Argument(help="As `events endpoints` lists it.", metavar="ENDPOINT_ID")]


def event_commands(settings_class: type[S], build: "Callable[[S, Database], Events]") -> typer.Typer:
    """The commands of a service; `build` is the function that its app uses as well."""
    commands = typer.Typer(help="Endpoints for events, and deliveries to them.", no_args_is_help=True)

    @commands.callback()
    def within(context: typer.Context) -> None:
        context.obj = _Workplace(settings_class, build)

    for command in (endpoints, deliveries, replay, test, disable, enable):
        commands.command()(command)
    return commands


class _Workplace(Generic[S]):
    """Runs a use case outside of the service, on the same database."""

    def __init__(self, settings_class: type[S], build: "Callable[[S, Database], Events]") -> None:
        self._settings_class = settings_class
        self._build = build

    def run(self, work: "Callable[[Events], Awaitable[T]]") -> T:
        """Exits with status 2 on a refusal."""
        # Imported here, so that other commands start sooner.
        from shared.db import Database  # noqa: PLC0415 - see above

        async def within() -> T:
            settings = load(self._settings_class)
            database = Database.of(settings)
            events = self._build(settings, database)
            try:
                return await work(events)
            finally:
                await events.close()
                await database.dispose()

        try:
            return asyncio.run(within())
        except Refusal as refusal:
            typer.echo(refusal.message, err=True)
            raise typer.Exit(2) from None

    def run_for(self, endpoint_id: str, work: "Callable[[Events, Reader], Awaitable[T]]") -> T:
        """In the place of the endpoint's client."""

        async def within(events: "Events") -> T:
            return await work(events, await events.endpoints.reader_of(endpoint_id))

        return self.run(within)


def _workplace(context: typer.Context) -> "_Workplace[ServiceSettings]":
    workplace: _Workplace[ServiceSettings] = context.obj
    return workplace


def endpoints(
    context: typer.Context, tenant: Annotated[str | None, typer.Option(help="By default all tenants.")] = None
) -> None:
    """List endpoints: tenant, id, client, state, how long it has been failing, how many wait, address, types."""

    async def work(events: "Events") -> "list[tuple[Endpoint, int]]":
        waiting = await events.deliveries.waiting()
        found = await events.endpoints.every(tenant)
        return [(one, waiting.get((one.tenant, one.endpoint_id), 0)) for one in found]

    for endpoint, waiting in _workplace(context).run(work):
        typer.echo(_endpoint_line(endpoint, waiting))


def deliveries(
    context: typer.Context,
    endpoint_id: EndpointId,
    state: Annotated[str | None, typer.Option(help="waiting, delivered or failed; by default all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many, newest event first.")] = 50,
) -> None:
    """List deliveries: event, type, state, attempts, last status or error, its time, time of the next attempt."""
    from shared.events.domain import DeliveryState  # noqa: PLC0415 - see above

    known = [name for name in get_args(DeliveryState) if state in (None, name)]
    if not known:
        raise typer.BadParameter("choose waiting, delivered or failed", param_hint="--state")

    async def work(events: "Events", reader: "Reader") -> "list[Delivery]":
        found: list[Delivery] = []
        cursor = None
        while len(found) < limit:
            page = await events.deliveries.page(
                reader,
                endpoint_id,
                state=None if state is None else known[0],
                cursor=cursor,
                limit=min(500, limit - len(found)),
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    for delivery in _workplace(context).run_for(endpoint_id, work):
        typer.echo(_delivery_line(delivery))


def replay(
    context: typer.Context,
    endpoint_id: EndpointId,
    event_id: Annotated[str | None, typer.Option(help="One event.")] = None,
    since: Annotated[str | None, typer.Option(help="All since an instant, such as 2026-11-21T08:00:00Z.")] = None,
) -> None:
    """Send again: one event, or all of the endpoint's types since an instant. The running service sends them."""
    if (event_id is None) == (since is None):
        raise typer.BadParameter("name either --event-id or --since")
    instant = None if since is None else _instant(since)

    async def work(events: "Events", reader: "Reader") -> int:
        return await events.deliveries.replay(reader, endpoint_id, event_id=event_id, since=instant)

    typer.echo(f"{_workplace(context).run_for(endpoint_id, work)} will be sent again")


def test(context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send `endpoint.test` at once, and say what came back; status 1 if it was not taken."""
    outcome = _workplace(context).run_for(
        endpoint_id, lambda events, reader: events.deliveries.test(reader, endpoint_id)
    )
    said = f"status {outcome.status}" if outcome.status is not None else f"no answer ({outcome.error})"
    typer.echo(f"{'delivered' if outcome.is_delivered else 'not delivered'}: {said}, {outcome.milliseconds} ms")
    if not outcome.is_delivered:
        raise typer.Exit(1)


def disable(context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send nothing there any more; the client's other endpoints hear `endpoint.disabled`."""
    endpoint = _workplace(context).run_for(
        endpoint_id, lambda events, reader: events.endpoints.disable(reader, endpoint_id)
    )
    typer.echo(_endpoint_line(endpoint))


def enable(context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send there again what happens from now on; `replay` sends what it missed."""
    from shared.events.endpoints import Change  # noqa: PLC0415 - see above

    change = Change(enabled=True)
    endpoint = _workplace(context).run_for(
        endpoint_id, lambda events, reader: events.endpoints.change(reader, endpoint_id, change)
    )
    typer.echo(_endpoint_line(endpoint))


def _instant(text: str) -> datetime:
    try:
        return TypeAdapter(Instant).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"], param_hint="--since") from None


def _endpoint_line(endpoint: "Endpoint", waiting: int | None = None) -> str:
    state = "enabled" if endpoint.enabled else f"disabled ({endpoint.disabled_because})"
    failing = "" if endpoint.failing_since is None else f"  failing since {iso(endpoint.failing_since)}"
    behind = f"  {waiting} waiting" if waiting else ""
    types = ",".join(endpoint.types) or "all types"
    return (
        f"{endpoint.tenant}  {endpoint.endpoint_id}  {endpoint.client_id}  {state}{failing}{behind}"
        f"  {endpoint.url}  {types}"
    )


def _delivery_line(delivery: "Delivery") -> str:
    attempts = f"{delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}"
    at = delivery.attempted_at
    came = "" if at is None else f"  {delivery.status or delivery.error} at {iso(at)}"
    ahead = "" if delivery.next_attempt_at is None else f"  next {iso(delivery.next_attempt_at)}"
    return f"{delivery.event_id}  {delivery.type}  {delivery.state:9}  {attempts}{came}{ahead}"
