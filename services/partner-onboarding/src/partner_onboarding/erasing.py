"""Builds what erases people, over the houses that keep something about them."""

from partner_onboarding.clock import Clock, database_clock
from partner_onboarding.handshake.account.belongings import HandshakeBelongings
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.register.build import Register
from partner_onboarding.register.users.erasing import Erasing
from partner_onboarding.third_parties.consents.duties import ApiUserDuties


def build_erasing(register: Register, clock: Clock = database_clock) -> Erasing:
    """What an account's own page and the command line need to erase a person."""
    links = Links(register.database, register.answers, clock)
    return Erasing(register.database, (ApiUserDuties(), HandshakeBelongings(links)))
