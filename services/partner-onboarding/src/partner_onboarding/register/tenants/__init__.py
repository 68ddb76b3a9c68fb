"""Tenants: the customers of the platform. None sees anything of another."""
