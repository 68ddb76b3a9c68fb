"""A second factor at sign-in: one-time codes of an authenticator app (RFC 6238), and recovery codes."""
