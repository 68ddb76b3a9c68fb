"""The system of record of points: what users own, what vendors hold of it, and every entry that changed it."""
