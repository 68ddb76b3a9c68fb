"""The register of tenants, clients and users, the registration handshake, third parties, and the pages for people."""
