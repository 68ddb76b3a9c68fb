"""Which notices there are."""

from typing import Literal

Kind = Literal[
    "confirm_address",
    "address_known",
    "password_changed",
    "password_forgotten",
    "email_changed",
    "confirm_new_address",
    "new_address_asked",
    "name_changed",
    "role_changed",
    "disabled",
    "enabled",
    "sessions_ended",
    "client_made",
    "secret_made",
    "vendor_secret_made",
    "requests_wait",
    "request_received",
    "request_approved",
    "request_declined",
    "second_factor_added",
    "second_factor_removed",
]
