"""Counting: who opened links, what was refused and when; batched, so that counting costs no one a wait."""
