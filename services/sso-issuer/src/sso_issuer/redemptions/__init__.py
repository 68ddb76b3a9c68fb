"""Taking a token back from the vendor that received it: once."""
