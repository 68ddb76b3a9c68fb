"""Each tenant's signing keys: how they come, when they sign, when they go."""
