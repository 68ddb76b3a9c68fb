"""The history checker: many clients attack two ledgers, and what they were answered is held against the contract."""
