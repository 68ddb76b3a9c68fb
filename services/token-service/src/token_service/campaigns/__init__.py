"""Campaigns: statistics, revocation of all tokens, the admin's pages, and landing pages."""
