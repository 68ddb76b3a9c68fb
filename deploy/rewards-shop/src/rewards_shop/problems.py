"""What can go wrong in front of a person. Each has a page of its own in texts.py, and a stable code for programs."""


class Problem(Exception):
    """Ends a request with a friendly page. `page` names its texts; `code` may be finer, for those who look into it."""

    def __init__(self, status: int, page: str, code: str = "") -> None:
        super().__init__(page)
        self.status = status
        self.page = page
        self.code = code or page


PAGES = ("used", "expired", "invalid", "later", "no_session", "not_found", "form", "other_order", "internal")


def rejected_link(code: str) -> Problem:
    """The problem of a token that was not believed."""
    if code == "token_already_redeemed":
        return Problem(409, "used", code)
    return Problem(400, "expired" if code == "token_expired" else "invalid", code)
