"""Rewards vendors: redirect address, claim spelling, algorithm and secrets."""
