"""Mails to people: written down with what they are about, and sent behind."""
