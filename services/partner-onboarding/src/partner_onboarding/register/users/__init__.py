"""Users: the people of a tenant, known by a sealed profile and a hash of their address."""
