"""Sandbox tenants: this service is their register, and tells the others in which state each is to be."""
