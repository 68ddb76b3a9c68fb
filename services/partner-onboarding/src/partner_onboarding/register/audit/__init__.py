"""The audit: who did what, of operators, tenant admins and clients."""
