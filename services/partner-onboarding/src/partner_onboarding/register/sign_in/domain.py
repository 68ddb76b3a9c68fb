"""The refusal of a sign-in."""

from shared.errors import TooManyRequests, Unauthenticated


class WrongPassword(Unauthenticated):
    """An unknown address, a wrong password, or a user without one; all look the same."""

    code = "wrong_password"


class TooManyAttempts(TooManyRequests):
    code = "too_many_attempts"
