"""What operators do from a shell: minting lists, looking at figures, relieving keys."""
