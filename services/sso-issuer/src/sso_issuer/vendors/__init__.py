"""Rewards vendors: where a user is sent, in which spelling, under which algorithm and secret."""
