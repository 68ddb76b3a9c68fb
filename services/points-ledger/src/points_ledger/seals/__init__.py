"""The chain of a tenant's entries."""
