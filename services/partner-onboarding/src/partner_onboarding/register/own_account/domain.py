"""What a person's own account needs of others: the link that confirms another address, and records elsewhere."""

from datetime import timedelta
from typing import Any, Final, Protocol

EMAIL_PATH: Final = "/account/email"
#: How long the link is good after it was mailed.
EMAIL_LIFETIME: Final = timedelta(days=1)


class Records(Protocol):
    """What a part of the platform keeps about people."""

    async def about(self, tenant: str, user_id: str) -> dict[str, Any]:
        """All records about one person, by the name under which they stand in the person's copy.

        Raises:
            shared.errors.Unavailable: another service cannot be asked.
        """
