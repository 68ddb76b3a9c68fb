"""How the pages write values of the audit."""

from typing import Any

from shared.web.languages import Texts


def audited(texts: Texts, value: Any) -> str:
    """A value as an operator reads it: lists with commas, and a word for yes, no and nothing."""
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or texts.say("audit.nothing")
    if isinstance(value, bool):
        return texts.say("audit.yes") if value else texts.say("audit.no")
    return texts.say("audit.nothing") if value is None else str(value)
