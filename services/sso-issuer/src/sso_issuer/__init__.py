"""Signs the short-lived tokens that carry a signed-in user to a rewards vendor, and keeps the signing keys."""
