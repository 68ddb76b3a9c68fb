"""Secrets on their way from an operator to whom they belong."""
