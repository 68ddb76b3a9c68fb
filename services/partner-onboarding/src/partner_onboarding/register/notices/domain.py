"""Which notices there are."""

from typing import Literal

Kind = Literal[
    "confirm_address",
    "address_known",
    "password_changed",
    "password_forgotten",
    "email_changed",
    "role_changed",
    "second_factor_added",
    "second_factor_removed",
]
