"""Stored profiles: sealed, and bound to tenant and user."""

import orjson
from shared.sealing import Sealer

from partner_onboarding import contexts
from partner_onboarding.register.users.domain import Profile, SealedUser, User, email_hash, normalised_email


class Profiles:
    """Seals and opens profiles, and hashes account names."""

    def __init__(self, sealer: Sealer, account_name_key: bytes) -> None:
        self._sealer = sealer
        self._account_name_key = account_name_key

    def email_hash(self, email: str) -> bytes:
        """Raises MalformedUser if this is no address."""
        return email_hash(self._account_name_key, normalised_email(email))

    def seal(self, tenant: str, user_id: str, profile: Profile) -> bytes:
        plain = orjson.dumps({"email": profile.email, "firstname": profile.firstname, "lastname": profile.lastname})
        return self._sealer.seal(plain, contexts.profile(tenant, user_id))

    def seal_address(self, tenant: str, user_id: str, email: str) -> bytes:
        """An address that is not in the profile (any more), for a mail to it."""
        return self._sealer.seal(email.encode(), contexts.address(tenant, user_id))

    def open_address(self, tenant: str, user_id: str, sealed: bytes) -> str:
        return self._sealer.open(sealed, contexts.address(tenant, user_id)).decode()

    def open(self, user: SealedUser) -> User:
        """Raises shared.sealing.CannotOpen if the row was changed or its key is missing."""
        fields = orjson.loads(self._sealer.open(user.profile, contexts.profile(user.tenant, user.user_id)))
        return User(
            tenant=user.tenant,
            user_id=user.user_id,
            profile=Profile(fields["email"], fields["firstname"], fields["lastname"]),
            password_hash=user.password_hash,
            roles=user.roles,
            created_at=user.created_at,
            updated_at=user.updated_at,
            email_verified_at=user.email_verified_at,
            owns_email=user.owns_email,
            disabled_at=user.disabled_at,
        )
