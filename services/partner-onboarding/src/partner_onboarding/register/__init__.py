"""The register: tenants, clients, users, their sessions, and the audit. Knows neither of the other houses."""
