"""Consents: what a tenant's admin allows a third party, and the codes by which the third party learns of it."""
