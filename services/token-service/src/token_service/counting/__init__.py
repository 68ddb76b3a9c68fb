"""Counting of uses and refusals, in batches, so that no request waits for it."""
