"""Clients: the programs that may call the platform, and their secrets."""
