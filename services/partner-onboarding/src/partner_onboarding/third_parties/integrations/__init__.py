"""Integration requests of third parties, and operators' decisions on them."""
