"""The tools of all tests: fixtures, worlds, and the harnesses for OpenAPI and query plans. In no image."""
