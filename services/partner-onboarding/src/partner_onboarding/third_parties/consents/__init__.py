"""Consents of tenants to third parties, and the authorization codes that they give."""
