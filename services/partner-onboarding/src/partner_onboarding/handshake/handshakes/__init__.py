"""The registration handshake: a public and a private code for one person and one hour."""
