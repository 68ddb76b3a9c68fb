"""The audit of operators, tenant admins and clients: who did what."""
