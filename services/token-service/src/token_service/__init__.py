"""Unique, verifiable campaign tokens: each is one AES block, with exact uses and statistics."""
