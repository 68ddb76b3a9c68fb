"""What the handshake knows of a person's account: for the account page, the copy of the data, and leaving."""
