"""The link that confirms another address of one's own."""

from datetime import timedelta
from typing import Final

EMAIL_PATH: Final = "/account/email"
#: How long the link is good after it was mailed.
EMAIL_LIFETIME: Final = timedelta(days=1)
