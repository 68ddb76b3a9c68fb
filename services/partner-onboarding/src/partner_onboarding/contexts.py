"""Under which context each sealed value opens: bound to its tenant and its row, so that none opens in another place."""


def profile(tenant: str, user_id: str) -> str:
    # A tenant contains no slash, so no two users share a context.
    return f"partner-onboarding/profile/{tenant}/{user_id}"


def address(tenant: str, user_id: str) -> str:
    """An address of a person that is not in the profile (any more)."""
    return f"{profile(tenant, user_id)}/address"


def mail(tenant: str, mail_id: str, part: str) -> str:
    return f"partner-onboarding/mail/{tenant}/{mail_id}/{part}"


def second_factor(tenant: str, user_id: str) -> str:
    return f"partner-onboarding/second factor/{tenant}/{user_id}"


def handshake(tenant: str, register_hash: bytes) -> str:
    return f"partner-onboarding/handshake/{tenant}/{register_hash.hex()}"


def integration_request(tenant: str, request_id: str) -> str:
    return f"partner-onboarding/integration-request/{tenant}/{request_id}"


def reason(tenant: str, request_id: str) -> str:
    """Why an integration request was declined."""
    return f"{integration_request(tenant, request_id)}/reason"
