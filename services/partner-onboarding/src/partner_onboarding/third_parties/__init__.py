"""Third parties: requests for integrations, what operators decide, and what tenants consent to."""
