"""The tenants' authorities: access tokens for third parties, within the tenant's consent."""
