"""The registration handshake: codes, registrations, links with their billing, partners, and mail."""
