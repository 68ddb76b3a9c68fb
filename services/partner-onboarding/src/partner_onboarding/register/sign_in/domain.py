"""How a sign-in is refused."""

from shared.errors import TooManyRequests, Unauthenticated


class WrongPassword(Unauthenticated):
    """Unknown address, wrong password, or a user without one: all the same to the asker."""

    code = "wrong_password"


class TooManyAttempts(TooManyRequests):
    code = "too_many_attempts"
