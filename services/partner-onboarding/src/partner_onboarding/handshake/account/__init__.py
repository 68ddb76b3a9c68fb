"""The handshake's part in a person's account: account page, copy of the data, and deletion."""
