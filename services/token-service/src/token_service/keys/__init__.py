"""Keys: one pair of secrets a (tenant, number), sealed at rest, relieved without breaking live tokens."""
