"""Keys: a pair of secrets for each (tenant, number), sealed at rest, rotated without breaking live tokens."""
