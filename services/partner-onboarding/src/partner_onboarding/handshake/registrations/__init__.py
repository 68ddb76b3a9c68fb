"""Registrations: people who make an account by themselves, sent by a partner."""
