"""Each tenant's signing keys, from publication to retirement."""
