"""What people do with their own accounts: another password, all that is kept about them, and the end of it."""
