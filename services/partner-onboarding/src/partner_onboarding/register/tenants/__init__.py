"""Tenants: the customers of the platform, between whom nothing is seen."""
