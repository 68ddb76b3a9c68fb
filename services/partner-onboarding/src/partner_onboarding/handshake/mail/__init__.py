"""Mails to people: written in the transaction of their cause, and sent later."""
