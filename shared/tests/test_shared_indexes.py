"""Big indexes: built beside the migrations, and dropped, while others write."""

import asyncio

import asyncpg
from local_platform.embedded_postgres import EmbeddedPostgres
from shared.migrating import upgrade

from .migrated_service import FIRST, Service

FORMER = ["notes_former_idx", "notes_older_idx"]


async def test_a_big_index_is_built_beside_while_others_write(service: Service) -> None:
    service.index("notes_text_idx")
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package, FIRST)
    assert service.indexes() == {}
    await asyncio.to_thread(upgrade, service.url, service.package)
    assert service.indexes() == {"notes_text_idx": True}
    service.ask(f"DROP INDEX {service.package}.notes_text_idx")
    writer, other = await asyncpg.connect(service.url), await asyncpg.connect(service.url)
    for client in (writer, other):
        await client.execute(f"SET search_path = {service.package}")
    await writer.execute("BEGIN; INSERT INTO notes (id) VALUES ('a')")
    building = asyncio.create_task(asyncio.to_thread(upgrade, service.url, service.package))
    async with asyncio.timeout(30):
        while service.indexes() != {"notes_text_idx": False}:  # noqa: ASYNC110 — the server gives no word
            await asyncio.sleep(0.01)
    await other.execute("INSERT INTO notes (id) VALUES ('b')")
    await writer.execute("COMMIT")
    await building
    assert service.indexes() == {"notes_text_idx": True}
    await writer.close()
    await other.close()


async def test_an_index_whose_building_was_cut_short_is_built_anew(
    service: Service, postgres: EmbeddedPostgres
) -> None:
    service.index("notes_text_idx")
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)
    superuser = await asyncpg.connect(postgres.url(service.package))
    await superuser.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass",
        f"{service.package}.notes_text_idx",
    )
    await superuser.close()
    assert service.indexes() == {"notes_text_idx": False}
    await asyncio.to_thread(upgrade, service.url, service.package)
    assert service.indexes() == {"notes_text_idx": True}


async def test_an_index_takes_the_place_of_others_which_the_next_migrate_drops(service: Service) -> None:
    """Until then the former version, which still runs, reads by them; also if another `migrate` comes by meanwhile."""
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)
    service.ask(f"CREATE INDEX notes_former_idx ON {service.package}.notes (id, text)")
    service.ask(f"CREATE INDEX notes_older_idx ON {service.package}.notes (text, id)")
    service.ask(f"INSERT INTO {service.package}.notes (id) VALUES ('a')")  # noqa: S608 — our own name
    service.index("notes_text_idx", instead_of=FORMER)
    async with service.writing() as writer:
        await writer.execute("INSERT INTO notes (id) VALUES ('b')")
        building = asyncio.create_task(asyncio.to_thread(upgrade, service.url, service.package))
        async with asyncio.timeout(30):
            while "notes_text_idx" not in service.indexes():  # noqa: ASYNC110 — the server gives no word
                await asyncio.sleep(0.01)
        await service.build_again("notes_text_idx", instead_of=FORMER)
        assert service.indexes() == {**dict.fromkeys(FORMER, True), "notes_text_idx": False}
    await building
    assert service.indexes() == dict.fromkeys([*FORMER, "notes_text_idx"], True)
    await asyncio.to_thread(upgrade, service.url, service.package)
    assert service.indexes() == {"notes_text_idx": True}


async def test_a_new_database_has_only_the_new_index(service: Service) -> None:
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)
    service.ask(f"CREATE INDEX notes_former_idx ON {service.package}.notes (id, text)")
    service.index("notes_text_idx", instead_of=["notes_former_idx"])
    await asyncio.to_thread(upgrade, service.url, service.package)
    assert service.indexes() == {"notes_text_idx": True}


async def test_an_index_whose_place_was_taken_is_dropped_while_others_write(service: Service) -> None:
    service.index("notes_text_idx", instead_of=["notes_former_idx"])
    service.add_both()
    await asyncio.to_thread(upgrade, service.url, service.package)
    service.ask(f"CREATE INDEX notes_former_idx ON {service.package}.notes (id, text)")
    async with service.writing() as writer:
        await writer.execute("INSERT INTO notes (id) VALUES ('a')")
        dropping = asyncio.create_task(asyncio.to_thread(upgrade, service.url, service.package))
        async with asyncio.timeout(30):
            while service.indexes() != {"notes_former_idx": False, "notes_text_idx": True}:  # noqa: ASYNC110 — see above
                await asyncio.sleep(0.01)
        async with service.writing() as other:
            await other.execute("INSERT INTO notes (id) VALUES ('b')")
    await dropping
    assert service.indexes() == {"notes_text_idx": True}
