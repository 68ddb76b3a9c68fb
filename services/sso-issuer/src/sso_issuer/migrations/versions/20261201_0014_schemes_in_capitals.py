"""A redirect address may write its scheme in capitals, as the rule for addresses has it."""

from alembic import op

revision = "20261201_0014"
down_revision = "20261130_0013"
branch_labels = None
depends_on = None

_VENDORS = "sso_issuer.vendors"
_NAME = "vendors_redirect_url_check"


def upgrade() -> None:
    _replace_check("redirect_url ~* '^https?://'")


def downgrade() -> None:
    # The scheme alone: the rest is kept letter by letter.
    op.execute(
        f"UPDATE {_VENDORS} SET redirect_url = lower(split_part(redirect_url, ':', 1))"  # noqa: S608 — a constant
        " || substr(redirect_url, strpos(redirect_url, ':')) WHERE redirect_url !~ '^https?://'"
    )
    _replace_check("redirect_url ~ '^https?://'")


def _replace_check(condition: str) -> None:
    # The version before writes nothing that the wider one refuses.
    op.execute(f"-- squawk-ignore ban-drop-constraint\nALTER TABLE {_VENDORS} DROP CONSTRAINT {_NAME}")
    # A tenant has few vendors: they are looked at in no time.
    checked = f"ALTER TABLE {_VENDORS} ADD CONSTRAINT {_NAME} CHECK ({condition})"
    op.execute(f"-- squawk-ignore constraint-missing-not-valid\n{checked}")
