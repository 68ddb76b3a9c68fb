"""`/events/v1/{topic}`: following events, and the endpoints that they are delivered to."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from shared.bodies import before_body
from shared.callers import Caller, Callers, document_credentials
from shared.dependencies import needs, provided
from shared.events import schemas
from shared.events.deliveries import Deliveries
from shared.events.destinations import MalformedUrl, PrivateAddress
from shared.events.domain import (
    Delivery,
    EndpointDisabled,
    EndpointNotFound,
    EventNotFound,
    Reader,
    TooManyEndpoints,
    Topic,
    UnknownEventType,
)
from shared.events.endpoints import Change, Endpoints, body_of
from shared.events.feed import Feed
from shared.events.sending import body_of as event_body
from shared.idempotency import Answer, IdempotencyKey
from shared.paging import InvalidCursor
from shared.problems import document_refusals

_NO_STORE: Final = {"Cache-Control": "no-store"}
_BAD_ADDRESS: Final = (MalformedUrl, PrivateAddress)


async def _authenticate(request: Request) -> Caller:
    return await provided(request.app, Callers).authenticate(request.scope)


async def _reader(
    caller: Annotated[Caller, Depends(before_body(_authenticate))], topic: Annotated[Topic, needs(Topic)]
) -> Reader:
    return topic.reader(caller)


Asking = Annotated[Reader, Depends(_reader)]
OwnTopic = Annotated[Topic, needs(Topic)]
OwnFeed = Annotated[Feed, needs(Feed)]
OwnEndpoints = Annotated[Endpoints, needs(Endpoints)]
OwnDeliveries = Annotated[Deliveries, needs(Deliveries)]


async def list_events(
    reader: Asking, topic: OwnTopic, feed: OwnFeed, query: Annotated[schemas.EventsQuery, Query()]
) -> schemas.EventsBody:
    """Oldest first. Keep `next_after` and ask with it again; then you miss no event and see none twice.

    An event is here within two seconds, and for 30 days.
    """
    types = topic.check_types([name for name in (query.type or "").split(",") if name])
    page = await feed.read(reader, after=query.after, types=types, limit=query.limit)
    return schemas.EventsBody(
        events=[schemas.EventBody.model_validate(event_body(event, topic)) for event in page.events],
        next_after=page.next_after,
    )


async def add_endpoint(
    reader: Asking, endpoints: OwnEndpoints, body: schemas.NewEndpointBody, key: IdempotencyKey
) -> Response:
    """Events of the chosen types are sent to `url` by POST, signed after Standard Webhooks.

    At least once, in any order. An answer of 2xx within ten seconds is a delivery; all else is tried again after 5 s,
    1 min, 5 min, 30 min, 2 h, 6 h, 12 h, 24 h and 24 h. Redirects are not followed.
    """
    answer = await endpoints.add(reader, key, url=body.url, types=body.types or (), description=body.description)
    return answer.response()


async def list_endpoints(reader: Asking, topic: OwnTopic, endpoints: OwnEndpoints) -> schemas.EndpointsBody:
    """All that the calling client has made; there are at most twenty."""
    found = await endpoints.all_of(reader)
    bodies = [schemas.EndpointBody.model_validate(body_of(endpoint, topic)) for endpoint in found]
    return schemas.EndpointsBody(endpoints=bodies, next_cursor=None)


async def find_endpoint(
    reader: Asking, topic: OwnTopic, endpoints: OwnEndpoints, endpoint_id: str
) -> schemas.EndpointBody:
    """One of the caller's endpoints."""
    return schemas.EndpointBody.model_validate(body_of(await endpoints.get(reader, endpoint_id), topic))


async def change_endpoint(
    reader: Asking, topic: OwnTopic, endpoints: OwnEndpoints, endpoint_id: str, body: schemas.ChangedEndpointBody
) -> schemas.EndpointBody:
    """What is left out stays. One that is enabled again hears what happens from then on; replay what it missed."""
    change = Change(body.url, body.types, body.description, body.enabled)
    return schemas.EndpointBody.model_validate(body_of(await endpoints.change(reader, endpoint_id, change), topic))


async def remove_endpoint(reader: Asking, endpoints: OwnEndpoints, endpoint_id: str) -> Response:
    """With its deliveries."""
    await endpoints.remove(reader, endpoint_id)
    return Response(status_code=204, headers=_NO_STORE)


async def rotate_secret(
    reader: Asking, endpoints: OwnEndpoints, endpoint_id: str, body: schemas.OverlapBody, key: IdempotencyKey
) -> Response:
    """A new secret. Until the overlap is over the present one signs too."""
    overlap = timedelta(seconds=body.overlap_seconds)
    return (await endpoints.rotate_secret(reader, endpoint_id, key, overlap=overlap)).response()


async def test_endpoint(reader: Asking, deliveries: OwnDeliveries, endpoint_id: str) -> schemas.TestOutcomeBody:
    """Sends `endpoint.test` at once and says what came back."""
    outcome = await deliveries.test(reader, endpoint_id)
    return schemas.TestOutcomeBody(
        delivered=outcome.is_delivered,
        status=outcome.status,
        milliseconds=outcome.milliseconds,
        error=outcome.error,
    )


async def list_deliveries(
    reader: Asking, deliveries: OwnDeliveries, endpoint_id: str, query: Annotated[schemas.DeliveriesQuery, Query()]
) -> schemas.DeliveriesBody:
    """Newest event first, each with its last attempt."""
    page = await deliveries.page(reader, endpoint_id, state=query.state, cursor=query.cursor, limit=query.limit)
    return schemas.DeliveriesBody(deliveries=list(map(_delivery_body, page.items)), next_cursor=page.next_cursor)


async def replay(
    reader: Asking, deliveries: OwnDeliveries, endpoint_id: str, body: schemas.ReplayBody, key: IdempotencyKey
) -> Response:
    """Sends one event again, or all of the endpoint's types since an instant."""
    answer = await deliveries.replay_once(
        reader,
        endpoint_id,
        event_id=body.event_id,
        since=body.since,
        key=key,
        shape=lambda waiting: Answer.of(202, {"waiting": waiting}),
    )
    return answer.response()


def events_router(topic: Topic) -> APIRouter:
    """The routes of one topic; what they need is provided by `Events.provide_to`."""
    router = APIRouter(prefix=f"/events/v1/{topic.name}", tags=["events"], dependencies=document_credentials())
    one = "/endpoints/{endpoint_id}"
    router.add_api_route(
        "",
        list_events,
        summary="What happened, in order",
        responses=document_refusals([UnknownEventType, InvalidCursor]),
    )
    router.add_api_route(
        "/endpoints",
        add_endpoint,
        methods=["POST"],
        status_code=201,
        response_model=schemas.MadeEndpointBody,
        summary="Register an endpoint",
        responses=document_refusals([*_BAD_ADDRESS, UnknownEventType, TooManyEndpoints]),
    )
    router.add_api_route("/endpoints", list_endpoints, summary="The caller's endpoints")
    unknown = document_refusals([EndpointNotFound])
    router.add_api_route(one, find_endpoint, summary="One endpoint", responses=unknown)
    router.add_api_route(
        one,
        change_endpoint,
        methods=["PATCH"],
        summary="Change an endpoint",
        responses=document_refusals([EndpointNotFound, *_BAD_ADDRESS, UnknownEventType]),
    )
    router.add_api_route(
        one, remove_endpoint, methods=["DELETE"], status_code=204, summary="Remove an endpoint", responses=unknown
    )
    router.add_api_route(
        f"{one}/secrets",
        rotate_secret,
        methods=["POST"],
        status_code=201,
        response_model=schemas.EndpointSecretBody,
        summary="Rotate an endpoint's secret",
        responses=unknown,
    )
    router.add_api_route(f"{one}/test", test_endpoint, methods=["POST"], summary="Send a test event", responses=unknown)
    router.add_api_route(
        f"{one}/deliveries", list_deliveries, summary="Deliveries and their attempts", responses=unknown
    )
    router.add_api_route(
        f"{one}/replay",
        replay,
        methods=["POST"],
        status_code=202,
        response_model=schemas.ReplayedBody,
        summary="Send events again",
        responses=document_refusals([EndpointNotFound, EventNotFound, EndpointDisabled]),
    )
    return router


def _delivery_body(delivery: Delivery) -> schemas.DeliveryBody:
    return schemas.DeliveryBody(
        event_id=delivery.event_id,
        type=delivery.type,
        state=delivery.state,
        attempts=delivery.attempts,
        status=delivery.status,
        error=delivery.error,
        attempted_at=delivery.attempted_at,
        next_attempt_at=delivery.next_attempt_at,
    )
