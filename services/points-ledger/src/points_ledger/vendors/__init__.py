"""Vendors, as far as the ledger knows them: how long their holds last."""
