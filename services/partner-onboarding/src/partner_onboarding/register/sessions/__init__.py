"""Sessions: who is signed in with which browser."""
