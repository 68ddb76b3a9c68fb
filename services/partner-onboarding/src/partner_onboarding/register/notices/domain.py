"""Which notices there are."""

from typing import Literal

Kind = Literal[
    "confirm_address",
    "address_known",
    "password_changed",
    "password_forgotten",
    "email_changed",
    "role_changed",
    "disabled",
    "enabled",
    "sessions_ended",
    "second_factor_added",
    "second_factor_removed",
]
