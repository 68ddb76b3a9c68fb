"""What the pages of all services have in common, and the rules for addresses. Pages need the extra `shared[web]`."""
