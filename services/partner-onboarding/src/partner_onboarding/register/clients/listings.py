"""How the list of clients is paged."""

from typing import Annotated, NamedTuple

from pydantic import StringConstraints
from shared.paging import Listing


class ClientPlace(NamedTuple):
    """Clients are listed in the order of their ids."""

    client_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


CLIENTS = Listing("clients", ClientPlace)
