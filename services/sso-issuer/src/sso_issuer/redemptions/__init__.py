"""Redemptions: a vendor brings a token back, once."""
