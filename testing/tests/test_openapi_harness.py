"""The harness fails where a service answers what its document does not name: otherwise its silence proves nothing."""

import pytest
from fastapi import FastAPI
from platform_testing.openapi import operations_of, try_all
from platform_testing.serving import running
from schemathesis.core.failures import FailureGroup
from starlette.responses import JSONResponse, Response


def service_that_answers(answer: Response) -> FastAPI:
    app = FastAPI()

    @app.get("/things/{thing_id}", responses={404: {}})
    def read(thing_id: int) -> dict[str, int]:
        del thing_id
        return answer  # type: ignore[return-value]

    return app


async def try_it(app: FastAPI) -> set[int]:
    async with running(app) as client:
        answers = await try_all(client, operations_of(app), examples=4, known={"thing_id": "7"})
    return answers.of("/things/{thing_id}", "GET")


async def test_what_the_document_names_passes() -> None:
    assert 200 in await try_it(service_that_answers(JSONResponse({"seven": 7})))


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"seven": "many"}),
        JSONResponse({"seven": 7}, 409),
        JSONResponse({}, 500),
        Response("seven", media_type="text/plain"),
    ],
    ids=["another shape", "a status it does not name", "a server error", "another media type"],
)
async def test_what_it_does_not_name_fails(answer: Response) -> None:
    with pytest.raises(FailureGroup):
        await try_it(service_that_answers(answer))
