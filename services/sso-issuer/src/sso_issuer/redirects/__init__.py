"""Sending a user to a vendor: for a back end, for a browser, and the audit of both."""
