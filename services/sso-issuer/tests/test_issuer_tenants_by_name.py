"""Whether there is a tenant learns only somebody who knows its whole name: discovery is public, a list is not."""

import re
from collections.abc import Callable

import pytest
from platform_testing.access import routes_of
from platform_testing.issuer_world import World

NOBODY = "t-nobody"
#: What somebody tries who knows a part of a name, or hopes for a pattern.
NEAR: list[Callable[[str], str]] = [
    lambda name: name[:-1],
    lambda name: f"{name}x",
    lambda name: name.upper(),
    lambda name: f"{name[:3]}%25",
    lambda name: f"{name[:3]}*",
    lambda _name: "______________",
    lambda name: name.replace("-", "%25"),
    lambda name: f"{name}%2500",
]


async def test_no_part_pattern_or_other_spelling_of_a_name_finds_a_tenant(world: World) -> None:
    """Every public path that names a tenant answers these as it answers them of a name that nobody has."""
    paths = [path for method, path in routes_of(world.app) if method == "GET" and "{tenant}" in path]
    public = [path for path in paths if not path.startswith("/internal")]
    await world.put_vendor()

    async def asked(path: str, name: str) -> tuple[int, str]:
        answer = await world.client.get(path.replace("{tenant}", name))
        return answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text)

    assert sum([(await asked(path, world.tenant))[0] == 200 for path in public]) >= 4
    for path in public:
        assert (await asked(path, NOBODY))[0] == 404, path
        for near in NEAR:
            answers = [await asked(path, near(name)) for name in (world.tenant, NOBODY)]
            assert answers[0] == answers[1], path
            assert answers[0][0] in {400, 404}, path


@pytest.mark.parametrize(
    "path", ["/.well-known/jwks.json", "/openapi.json", "/developers/inspect", "/tenants", "/tenants/"]
)
async def test_what_is_for_everybody_names_no_tenant(world: World, path: str) -> None:
    await world.put_vendor()
    answer = await world.client.get(path)
    assert world.tenant not in answer.text
