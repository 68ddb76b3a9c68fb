"""The link to another password."""

from datetime import timedelta
from typing import Final

PATH: Final = "/password/reset"
#: How long a link is good after it was mailed.
LIFETIME: Final = timedelta(minutes=30)
