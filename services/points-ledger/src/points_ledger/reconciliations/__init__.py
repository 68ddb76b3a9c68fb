"""A vendor's list of transactions against the ledger's."""
