"""The tenants' authorities: access tokens for third parties, as far as the tenant has consented, and no further."""
