"""People's own accounts: change of password, copy of the data, and deletion."""
