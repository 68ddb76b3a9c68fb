"""Tokens: their format, what may be issued, using them up, looking at them, revoking them."""
