"""Campaigns: revoking all their tokens, their statistics, the page of a person who runs them, their landing page."""
