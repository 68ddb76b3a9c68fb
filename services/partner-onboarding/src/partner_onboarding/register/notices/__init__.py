"""Notices to a person by mail: written here in the transaction of their cause, and sent later."""
