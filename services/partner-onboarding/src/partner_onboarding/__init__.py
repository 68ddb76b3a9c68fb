"""The register of the platform: tenants, clients and users, who is signed in, and the pages for people."""
