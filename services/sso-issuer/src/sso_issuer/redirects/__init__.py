"""Redirects to vendors, for back ends and for browsers, and their audit."""
