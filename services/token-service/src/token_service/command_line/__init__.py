"""Commands for operators: mint lists, show statistics, rotate keys."""
