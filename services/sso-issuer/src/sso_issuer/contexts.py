"""Under which context each sealed value opens: bound to its tenant and its row, so that none opens in another place."""


def private_key(tenant: str, kid: str) -> str:
    return f"sso-issuer private key {tenant}/{kid}"


def receipt_key(tenant: str, kid: str) -> str:
    return f"sso-issuer receipt key {tenant}/{kid}"


def vendor_secret(tenant: str, vendor_id: str, kid: str) -> str:
    # The kid comes first: it has no slash, so that different pairs give different contexts.
    return f"sso-issuer vendor secret {tenant}/{kid}/{vendor_id}"
