"""Help for those who verify tokens: what is wrong with one, and examples of good and bad ones."""
