"""Signing in by address and password, and slowing down those who guess."""
