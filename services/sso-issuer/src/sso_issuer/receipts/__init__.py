"""Receipts of vendors' transactions, signed under keys of their own whose public halves stay for ever."""
