"""Receipts of transactions that have ended: given out, and checked offline."""
