"""All tables of this service, for the migrations; the three houses share one schema."""

from partner_onboarding.handshake import tables as _handshake
from partner_onboarding.register import tables as _register
from partner_onboarding.schema import metadata
from partner_onboarding.third_parties import tables as _third_parties

__all__ = ["HOUSES", "metadata"]

#: Named, since the import defines the tables.
HOUSES = (_register, _handshake, _third_parties)
