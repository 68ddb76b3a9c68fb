"""Integration requests: who wants to build what with which data of a tenant, and what operators decide."""
