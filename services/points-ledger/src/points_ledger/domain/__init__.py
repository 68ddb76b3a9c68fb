"""The rules of points, independent of storage: they import the standard library and refusals only."""
