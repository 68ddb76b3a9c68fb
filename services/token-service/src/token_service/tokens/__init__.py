"""Tokens: format, orders, issuing, verifying and revoking."""
