"""The whole platform on one machine: database, services, gateway, shop, and a demonstration."""
