"""Tables and constraints of the schema `sso_issuer`. The tenant leads every key."""

from datetime import datetime

import sqlalchemy as sa
from shared.acts import define_acts_table
from shared.events.tables import define_event_tables
from shared.idempotency import define_answers_table
from shared.sandboxes.tables import define_sandbox_tables
from shared.seals.tables import define_seals_table
from shared.tables import NAMES, Forgotten, append_only, in_sandbox, sealed_as
from sqlalchemy.dialects.postgresql import JSONB

from sso_issuer import contexts

metadata = sa.MetaData(
    schema="sso_issuer",
    naming_convention=NAMES,
)


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


#: One row for each tenant and algorithm. A transaction that changes keys locks it first.
key_successions = sa.Table(
    "key_successions",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("algorithm", sa.Text, primary_key=True),
    sa.CheckConstraint("algorithm IN ('ES256', 'RS256')", name="algorithm"),
    info=in_sandbox(stays=True),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kid", sa.Text, primary_key=True, comment="RFC 7638 thumbprint"),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("public_jwk", JSONB, nullable=False),
    sa.Column(
        "private_key",
        sa.LargeBinary,
        comment="sealed PKCS #8; gone as soon as the key no longer signs",
        info=sealed_as(lambda row: contexts.private_key(row["tenant"], row["kid"])),
    ),
    _time("published_at"),
    _time("signs_from"),
    _time("activated_at", nullable=True),
    _time("retiring_at", nullable=True),
    _time("published_until", nullable=True),
    _time("retired_at", nullable=True),
    sa.ForeignKeyConstraint(
        ["tenant", "algorithm"], ["sso_issuer.key_successions.tenant", "sso_issuer.key_successions.algorithm"]
    ),
    sa.CheckConstraint("state IN ('next', 'active', 'retiring', 'retired')", name="state"),
    sa.CheckConstraint("(state IN ('next', 'active')) = (private_key IS NOT NULL)", name="private_key"),
    # The database refuses a private key in clear text.
    sa.CheckConstraint("NOT public_jwk ?| ARRAY['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']", name="public"),
    sa.CheckConstraint("signs_from >= published_at", name="published_first"),
    sa.CheckConstraint("activated_at >= signs_from", name="activated_in_time"),
    sa.CheckConstraint("state <> 'next' OR activated_at IS NULL", name="next"),
    sa.CheckConstraint("state <> 'active' OR activated_at IS NOT NULL AND retiring_at IS NULL", name="active"),
    sa.CheckConstraint(
        "state <> 'retiring' OR retiring_at IS NOT NULL AND published_until > retiring_at", name="retiring"
    ),
    sa.CheckConstraint("(state = 'retired') = (retired_at IS NOT NULL)", name="retired"),
    sa.Index("keys_by_retirement", "retired_at", postgresql_where=sa.text("state = 'retired'")),
    sa.Index("keys_one_next", "tenant", "algorithm", unique=True, postgresql_where=sa.text("state = 'next'")),
    sa.Index("keys_one_active", "tenant", "algorithm", unique=True, postgresql_where=sa.text("state = 'active'")),
    info=in_sandbox(stays=True),
)

#: The public halves of all keys that ever signed receipts. Append-only, and nothing forgets them: a receipt is checked
#: years later.
receipt_keys = sa.Table(
    "receipt_keys",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kid", sa.Text, primary_key=True, comment="RFC 7638 thumbprint"),
    sa.Column("public_jwk", JSONB, nullable=False),
    _time("created_at"),
    # The database refuses a private key in clear text.
    sa.CheckConstraint("NOT public_jwk ?| ARRAY['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']", name="public"),
    info=append_only() | in_sandbox(stays=True),
)

#: The key that signs a tenant's receipts. A rotation replaces the row, so that the former private half is gone.
receipt_signers = sa.Table(
    "receipt_signers",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column(
        "private_key",
        sa.LargeBinary,
        nullable=False,
        comment="sealed PKCS #8",
        info=sealed_as(lambda row: contexts.receipt_key(row["tenant"], row["kid"])),
    ),
    sa.ForeignKeyConstraint(["tenant", "kid"], ["sso_issuer.receipt_keys.tenant", "sso_issuer.receipt_keys.kid"]),
    info=in_sandbox(stays=True),
)

#: Keys of receipts whose private halves leaked. Their public halves stay all the same.
leaked_receipt_keys = sa.Table(
    "leaked_receipt_keys",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kid", sa.Text, primary_key=True),
    _time("leaked_at"),
    sa.ForeignKeyConstraint(["tenant", "kid"], ["sso_issuer.receipt_keys.tenant", "sso_issuer.receipt_keys.kid"]),
    info=append_only() | in_sandbox(stays=True),
)

vendors = sa.Table(
    "vendors",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("vendor_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("redirect_url", sa.Text, nullable=False),
    sa.Column("delivery", sa.Text, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("lifetime_seconds", sa.Integer, nullable=False),
    sa.Column("claim_spelling", sa.Text, nullable=False),
    sa.Column("audience", sa.Text, nullable=False),
    _time("created_at"),
    _time("updated_at"),
    sa.CheckConstraint("delivery IN ('query', 'form_post')", name="delivery"),
    sa.CheckConstraint("algorithm IN ('ES256', 'RS256', 'HS256')", name="algorithm"),
    sa.CheckConstraint("lifetime_seconds BETWEEN 1 AND 300", name="lifetime"),
    sa.CheckConstraint("claim_spelling IN ('lower', 'camel')", name="claim_spelling"),
    sa.CheckConstraint("redirect_url ~* '^https?://'", name="redirect_url"),
    sa.UniqueConstraint("tenant", "audience", name="vendors_audience_key"),
    info=in_sandbox(stays=True),
)

#: A secret has a `slot`, 0 or 1, so that the database refuses a third one.
vendor_secrets = sa.Table(
    "vendor_secrets",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("vendor_id", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("slot", sa.SmallInteger, nullable=False),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column(
        "secret",
        sa.LargeBinary,
        nullable=False,
        comment="sealed",
        info=sealed_as(lambda row: contexts.vendor_secret(row["tenant"], row["vendor_id"], row["kid"])),
    ),
    _time("created_at"),
    _time("signs_from"),
    _time("expires_at", nullable=True),
    sa.ForeignKeyConstraint(["tenant", "vendor_id"], ["sso_issuer.vendors.tenant", "sso_issuer.vendors.vendor_id"]),
    sa.CheckConstraint("n > 0", name="n"),
    sa.CheckConstraint("slot IN (0, 1)", name="slot"),
    sa.UniqueConstraint("tenant", "vendor_id", "slot", name="vendor_secrets_slot_key"),
    sa.UniqueConstraint("tenant", "kid", name="vendor_secrets_kid_key"),
    info=in_sandbox(stays=True),
)

#: Append-only: no statement of this service changes a row; retention deletes old ones.
issuances = sa.Table(
    "issuances",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("vendor_id", sa.Text, nullable=False),
    sa.Column("delivery", sa.Text, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("client_id", sa.Text, comment="who asked; none where the user's own browser did"),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("audience", sa.Text, comment="none in rows of before"),
    sa.Column("token_digest", sa.LargeBinary, comment="SHA-256; none in rows of before"),
    _time("issued_at"),
    _time("expires_at"),
    sa.ForeignKeyConstraint(["tenant", "vendor_id"], ["sso_issuer.vendors.tenant", "sso_issuer.vendors.vendor_id"]),
    sa.CheckConstraint("octet_length(token_digest) = 32", name="token_digest"),
    sa.CheckConstraint("delivery IN ('query', 'form_post')", name="delivery"),
    sa.CheckConstraint("algorithm IN ('ES256', 'RS256', 'HS256')", name="algorithm"),
    sa.CheckConstraint("points >= 0", name="points"),
    # A token says that it was issued five seconds ago, and its lifetime counts from there.
    sa.CheckConstraint(
        "expires_at > issued_at - interval '5 seconds' AND expires_at <= issued_at + interval '300 seconds'",
        name="lifetime",
    ),
    sa.Index("issuances_newest", "tenant", "issued_at", "jti"),
    sa.Index("issuances_of_user", "tenant", "user_id", "issued_at", "jti"),
    sa.Index("issuances_of_vendor", "tenant", "vendor_id", "issued_at", "jti"),
    # An issuance goes after its redemption, which refers to it.
    info=append_only(
        Forgotten(
            by="issued_at",
            unless="EXISTS (SELECT FROM sso_issuer.redemptions AS r WHERE r.tenant = t.tenant AND r.jti = t.jti)",
        )
    ),
)

#: A separate table, so that issuances never change; the primary key makes a redemption happen once.
redemptions = sa.Table(
    "redemptions",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("points_now", sa.BigInteger, nullable=False),
    _time("redeemed_at"),
    sa.ForeignKeyConstraint(["tenant", "jti"], ["sso_issuer.issuances.tenant", "sso_issuer.issuances.jti"]),
    sa.CheckConstraint("points_now >= 0", name="points_now"),
    sa.Index("redemptions_redeemed_at_idx", "redeemed_at", postgresql_using="brin"),
)

#: The audit of the authorities, append-only: issued, refused, introspected and revoked.
authority_events = sa.Table(
    "authority_events",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, comment="the error code of a refusal; why a token is inactive or was revoked"),
    sa.Column("client_id", sa.Text, comment="who asked; of a refusal, who it claimed to be"),
    sa.Column("subject", sa.Text, comment="the designated user"),
    sa.Column("jti", sa.Text),
    sa.Column("token_client_id", sa.Text, comment="whose token it is, where another client asked about it"),
    sa.Column("grant_type", sa.Text),
    sa.Column("scope", sa.Text, comment="separated by blanks, as in the token"),
    sa.Column("consent_version", sa.BigInteger, comment="none for the platform's own clients"),
    sa.Column("kid", sa.Text),
    sa.Column("request_id", sa.Text, nullable=False),
    _time("happened_at"),
    _time("expires_at", nullable=True),
    sa.CheckConstraint("event IN ('issued', 'refused', 'introspected', 'revoked')", name="event"),
    sa.CheckConstraint(
        "event <> 'issued' OR num_nulls(client_id, subject, jti, grant_type, scope, kid, expires_at) = 0",
        name="issued",
    ),
    sa.CheckConstraint("event <> 'refused' OR reason IS NOT NULL", name="refused"),
    sa.CheckConstraint(
        "expires_at > happened_at AND expires_at <= happened_at + interval '600 seconds'", name="lifetime"
    ),
    sa.Index("authority_events_newest", "tenant", "happened_at", "event_id"),
    sa.Index("authority_events_issued", "tenant", "jti", unique=True, postgresql_where=sa.text("event = 'issued'")),
    info=append_only(Forgotten(by="happened_at")) | in_sandbox(stays=True),
)

seals = define_seals_table(metadata)
# A seal goes with its rows.
seals.info |= in_sandbox(goes_if="chain = 'issuances'")

#: Kept until the token would have expired by itself.
revoked_tokens = sa.Table(
    "revoked_tokens",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    _time("expires_at"),
    sa.Index("revoked_tokens_by_end", "expires_at"),
    info=in_sandbox(stays=True),
)

#: The token that a code gave. The primary key lets a code give one token, and a replay find it.
redeemed_codes = sa.Table(
    "redeemed_codes",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code_digest", sa.LargeBinary, primary_key=True),
    sa.Column("jti", sa.Text, comment="none where the replay came before the first use was written"),
    _time("token_expires_at", nullable=True),
    _time("forget_at"),
    sa.CheckConstraint("octet_length(code_digest) = 32", name="code_digest"),
    sa.CheckConstraint("(jti IS NULL) = (token_expires_at IS NULL)", name="jti"),
    sa.Index("redeemed_codes_by_end", "forget_at"),
    info=in_sandbox(stays=True),
)

#: A client's signed assertion is good once.
used_assertions = sa.Table(
    "used_assertions",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("jti_digest", sa.LargeBinary, primary_key=True),
    _time("expires_at"),
    sa.CheckConstraint("octet_length(jti_digest) = 32", name="jti_digest"),
    sa.Index("used_assertions_by_end", "expires_at"),
    info=in_sandbox(stays=True),
)

answers = define_answers_table(metadata)

events = define_event_tables(metadata)

sandboxes = define_sandbox_tables(metadata)

acts = define_acts_table(metadata)
