"""What the rules for tables that are distributed by tenant find in a statement, and what they let pass."""

import pytest
import sqlalchemy as sa
from platform_testing.tenant_rules import Kind, Layout, breaches, unkeyed
from shared.tables import for_all_tenants

LAYOUT = Layout({"bank.accounts", "bank.entries"}.__contains__, {"bank.branches"}.__contains__)


def kinds(statement: str) -> set[Kind]:
    return {breach.kind for breach in breaches(statement, LAYOUT)}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM bank.accounts WHERE bank.accounts.tenant = $1::VARCHAR AND bank.accounts.user_id = $2",
        "SELECT * FROM bank.accounts a WHERE (a.tenant, a.user_id) = ($1, $2) FOR UPDATE",
        "SELECT * FROM bank.accounts a JOIN bank.entries e USING (tenant, user_id) WHERE a.tenant = $1",
        "SELECT * FROM bank.accounts a LEFT JOIN bank.entries e ON e.tenant = a.tenant WHERE a.tenant = 'demo'",
        "SELECT * FROM bank.accounts a WHERE tenant = $1 AND EXISTS"
        " (SELECT 1 FROM bank.entries e WHERE e.tenant = $1 AND e.user_id = a.user_id)",
        "SELECT * FROM json_to_recordset($1::json) AS n (user_id text), LATERAL"
        " (SELECT * FROM bank.accounts a WHERE a.tenant = $2 AND a.user_id = n.user_id OFFSET 0) AS found",
        "UPDATE bank.accounts a SET held = new.held FROM json_to_recordset($1::json) AS new (user_id text, held int)"
        " WHERE a.tenant = $2::text AND a.user_id = new.user_id",
        "UPDATE bank.accounts a SET at = timezone('UTC', timezone('UTC', a.at) - $2::interval) WHERE a.tenant = $1",
        "DELETE FROM bank.accounts a USING bank.entries e WHERE a.tenant = e.tenant AND e.tenant = $1",
        "INSERT INTO bank.accounts (tenant, user_id, opened_at) VALUES ($1, $2, clock_timestamp())",
        "INSERT INTO bank.accounts (user_id, tenant) SELECT n.user_id, $2::text FROM unnest($1::text[]) AS n (user_id)",
        "INSERT INTO bank.accounts (tenant, held) VALUES ($1,$2) ON CONFLICT (tenant) DO UPDATE"
        " SET held = excluded.held",
        "SELECT * FROM bank.branches WHERE branch = $1 FOR UPDATE",
        "SELECT * FROM bank.accounts a JOIN bank.branches b ON b.branch = a.branch WHERE a.tenant = $1",
        "SELECT clock_timestamp()",
        "SELECT 1 FROM pg_catalog.pg_stat_activity",
    ],
)
def test_a_statement_that_names_its_one_tenant_passes(statement: str) -> None:
    assert breaches(statement, LAYOUT) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM bank.accounts WHERE user_id = $1",
        "SELECT * FROM bank.accounts a WHERE a.tenant = ANY($1::text[])",
        "SELECT * FROM bank.accounts a WHERE a.tenant = $1 OR a.user_id = $2",
        "SELECT * FROM bank.accounts a JOIN bank.entries e ON e.user_id = a.user_id WHERE a.tenant = $1",
        "DELETE FROM bank.accounts WHERE held = 0",
        "SELECT * FROM bank.accounts a WHERE EXISTS (SELECT 1 FROM bank.entries e WHERE e.tenant = a.tenant)",
        "INSERT INTO bank.accounts (tenant, user_id) SELECT * FROM unnest($1::text[], $2::text[])",
    ],
)
def test_a_statement_that_leaves_a_tenant_open_crosses(statement: str) -> None:
    assert kinds(statement) == {Kind.CROSSES}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM bank.accounts WHERE user_id = $1 FOR UPDATE",
        "SELECT * FROM unnest($1::text[]) AS n (tenant), LATERAL"
        " (SELECT * FROM bank.accounts a WHERE a.tenant = n.tenant LIMIT 1) AS found",
        "SELECT (SELECT count(*) FROM bank.entries e WHERE e.user_id = a.user_id) AS entries FROM bank.accounts a",
        "SELECT (SELECT e.n FROM bank.entries e WHERE e.tenant = a.tenant LIMIT 1) AS newest FROM bank.accounts a",
        "UPDATE bank.accounts a SET closed_at = clock_timestamp() WHERE a.tenant = $1",
        "DELETE FROM bank.accounts a WHERE a.tenant = $1 AND a.held < random()",
        "UPDATE bank.accounts a SET closed_at = coalesce(a.closed_at, now()) WHERE a.tenant = $1",
        "UPDATE bank.accounts a SET closed_at = a.closed_at + $2::interval WHERE a.tenant = $1",
        "UPDATE bank.accounts a SET tenant = $2 WHERE a.tenant = $1",
        "UPDATE bank.branches SET opened_at = clock_timestamp() WHERE branch = $1",
        "UPDATE bank.accounts a SET held = 0 WHERE a.tenant = $1 RETURNING now()",
        "INSERT INTO bank.accounts (tenant) VALUES ($1) ON CONFLICT (tenant) DO UPDATE SET closed_at = now()",
        "INSERT INTO bank.accounts (tenant, at) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET at = excluded.at"
        " WHERE accounts.at < now()",
    ],
)
def test_what_citus_ends_with_an_error_is_refused(statement: str) -> None:
    assert Kind.REFUSED in kinds(statement)


def test_keys_without_the_tenant_are_found() -> None:
    metadata = sa.MetaData(schema="bank")
    sa.Table("rates", metadata, sa.Column("currency", sa.Text, primary_key=True))
    branches = sa.Table("branches", metadata, sa.Column("branch", sa.Text, primary_key=True), info=for_all_tenants())
    accounts = sa.Table(
        "accounts",
        metadata,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("email", sa.Text, unique=True),
        sa.Index("by_code", "user_id", unique=True),
        sa.Index("by_code_of_tenant", "tenant", sa.text("lower(email)"), unique=True),
        sa.UniqueConstraint("tenant", "email"),
        sa.Column("branch", sa.ForeignKey(branches.c.branch)),
    )
    sa.Table(
        "entries",
        metadata,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("payer", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.ForeignKeyConstraint(["tenant", "user_id"], [accounts.c.tenant, accounts.c.user_id]),
        sa.ForeignKeyConstraint(["payer", "user_id"], [accounts.c.tenant, accounts.c.user_id]),
    )

    sa.Table(
        "clerks",
        metadata,
        sa.Column("tenant", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.ForeignKeyConstraint(["tenant", "user_id"], [accounts.c.tenant, accounts.c.user_id]),
        info=for_all_tenants(),
    )

    sa.Table(
        "numbers",
        metadata,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("small", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("big", sa.BigInteger, sa.Identity()),
    )

    assert sorted(unkeyed(metadata)) == [
        "accounts: unique (email)",
        "accounts: unique index (user_id)",
        "clerks: refers to accounts",
        "entries: foreign key (payer=tenant, user_id=user_id)",
        "numbers: small is an identity column of fewer than 64 bits",
        "rates: no tenant",
    ]
