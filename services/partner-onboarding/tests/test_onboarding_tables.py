"""What lies in the database: the tables as the code knows them, and nothing in clear."""

import secrets
from collections import Counter

import pytest
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.settings import Settings
from partner_onboarding.tables import metadata
from partner_onboarding.third_parties.build import build_third_parties
from shared.migrating import differences
from shared.sealed_columns import sealed_columns
from shared.sealing import Sealer, parse_key_encryption_keys
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from .handshake_partner import Partner
from .integration_partner import submit
from .onboarding_house import PASSWORD, House


async def test_the_migrations_build_what_the_code_expects(house: House) -> None:
    async with house.register.database.engine.connect() as connection:
        assert await connection.run_sync(differences, metadata) == []


async def test_a_copy_of_the_tables_names_nobody_and_opens_nothing(house: House) -> None:
    client_id, client_secret = await house.client("points:read")
    await house.user(email=house.address("Erika.Mustermann"), firstname="Erikaline", lastname="Mustermannova")
    signed_in = await house.sign_in(house.address("erika.mustermann"))
    operator = await house.caller("clients:admin")
    rotated = await house.http.post(
        f"/v1/clients/{client_id}/secrets", headers=operator | {"Idempotency-Key": "rotate-it"}
    )
    hidden = [
        *(client_secret, rotated.json()["client_secret"], signed_in.cookies["__Host-session"].partition(".")[2]),
        *(PASSWORD, "Erika.Mustermann", "erika.mustermann", "Erikaline", "Mustermannova"),
    ]
    looked_at = 0
    async with house.register.database.transaction() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                looked_at += 1
                kept = b"\n".join(
                    bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in row
                )
                assert not [word for word in hidden if word.encode() in kept], table.name
    assert looked_at > 6
    assert rotated.status_code == 201


async def test_a_profile_does_not_open_in_another_row(house: House) -> None:
    """A writer of the tables cannot give one user's profile to another."""
    await house.user("erika")
    await house.user("max", firstname="Max")
    async with house.register.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE partner_onboarding.users SET profile = (SELECT profile FROM partner_onboarding.users"
                " WHERE tenant = :tenant AND user_id = 'erika') WHERE tenant = :tenant AND user_id = 'max'"
            ),
            {"tenant": house.tenant},
        )
    reader = await house.caller("users:read")
    assert (await house.http.get("/v1/users/max", headers=reader)).status_code == 500
    assert (await house.http.get("/v1/users/erika", headers=reader)).status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO client_secrets (tenant, client_id, n, salt, hash) SELECT tenant, client_id, 2, salt, hash"
        " FROM client_secrets WHERE client_id = :client_id",
        "UPDATE client_secrets SET hash = '\\x00' WHERE client_id = :client_id",
        "UPDATE clients SET kind = 'anyone' WHERE client_id = :client_id",
        "UPDATE clients SET client_id = 'a:b' WHERE client_id = :client_id",
        "UPDATE clients SET tenant = 'nobody' WHERE client_id = :client_id",
        "UPDATE users SET password_hash = 'in clear' WHERE tenant = :tenant",
        "UPDATE users SET roles = '{root}' WHERE tenant = :tenant",
        "UPDATE users SET email_hash = 'erika' WHERE tenant = :tenant",
        "INSERT INTO tenants (tenant, name) VALUES ('Not a tenant', 'x')",
    ],
)
async def test_the_database_refuses_by_itself(house: House, statement: str) -> None:
    client_id, _ = await house.client("points:read")
    await house.user()
    schema_named = statement
    for table in ("client_secrets", "clients", "users", "tenants"):
        for before in ("INTO ", "UPDATE ", "FROM "):
            schema_named = schema_named.replace(f"{before}{table} ", f"{before}partner_onboarding.{table} ")
    with pytest.raises(IntegrityError):
        async with house.register.database.transaction() as connection:
            await connection.execute(text(schema_named), {"client_id": client_id, "tenant": house.tenant})


async def test_a_client_id_is_unique_over_all_tenants(house: House) -> None:
    client_id = f"client-{secrets.token_hex(4)}"
    other = await house.another_tenant()
    insert = text(
        "INSERT INTO partner_onboarding.clients (tenant, client_id, name, kind)"
        " VALUES (:tenant, :client_id, 'x', 'first_party')"
    )
    async with house.register.database.transaction() as connection:
        await connection.execute(insert, {"tenant": house.tenant, "client_id": client_id})
    with pytest.raises(IntegrityError):
        async with house.register.database.transaction() as connection:
            await connection.execute(insert, {"tenant": other, "client_id": client_id})


async def test_each_sealed_value_opens_under_the_context_that_its_column_names(
    house: House, settings: Settings
) -> None:
    """So that `reseal` can move it to another key."""
    partner = await Partner.of(house)
    await house.user("anna", roles=["operator"])
    await house.sign_in(await house.user("erika"))
    await partner.codes()
    await house.register.second_factors.begin(house.tenant, "erika")
    request_id = await submit(house)
    await submit(house, contact_email=house.address("ines"))
    integrations = build_third_parties(house.register).integrations
    await integrations.decline(house.tenant, request_id, "No.", by=Actor("operator", "anna"))
    headers = await house.caller("users:write")
    moved = {"email": house.address("moved"), "firstname": "Erika", "lastname": "Mustermann"}
    await house.http.put("/v1/users/erika", json=moved, headers=headers)
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    opened = Counter[str]()
    async with house.register.database.transaction() as connection:
        for sealed in sealed_columns(metadata):
            table = sealed.column.table
            mine = select(table).where(table.c.tenant.in_([house.tenant, ""]), sealed.column.is_not(None))
            for row in (await connection.execute(mine)).mappings():
                sealer.open(row[sealed.column.name], sealed.context(dict(row)))
                opened[sealed.name] += 1
    assert {name for name in opened if not name.startswith("event_")} == {
        *("users.profile", "mails.recipient", "mails.facts", "second_factors.secret"),
        *("handshakes.authorization_code", "integration_requests.particulars", "integration_requests.reason"),
    }
