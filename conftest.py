"""What every test may use: a real PostgreSQL, service keys, a register, a tenant of its own."""

pytest_plugins = ["shared.testing"]
