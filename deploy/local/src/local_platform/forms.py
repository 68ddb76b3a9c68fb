"""What a browser does with the forms of a page, for journeys that play one."""

from html.parser import HTMLParser


def hidden_fields(page: str) -> dict[str, str]:
    """Name and value of the hidden fields; all forms of one page carry the same token."""
    parser = _HiddenFields()
    parser.feed(page)
    return parser.found


def action_of(page: str) -> str:
    """Where the page's last form is sent, as the page writes it; the forms before it belong to the frame."""
    parser = _HiddenFields()
    parser.feed(page)
    return parser.action


class _HiddenFields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.action = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        name = told.get("name")
        if tag == "form":
            self.action = told.get("action") or ""
        if tag == "input" and told.get("type") == "hidden" and name:
            self.found[name] = told.get("value") or ""
