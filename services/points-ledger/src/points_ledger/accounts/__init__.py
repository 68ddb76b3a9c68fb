"""For the platform: accounts, credits, debits, balances."""
