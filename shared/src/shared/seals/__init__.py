"""Seals: rows of append-only tables in a chain of SHA-256, so that an edited, removed or inserted row is noticed.

A chore reads a tenant's rows in the order of their times and writes a seal for up to a thousand of them (`sealing`). A
command reads the rows again and compares (`checking`). The chain of each tenant and each table begins with seal 1.

Anybody who has a copy of the rows can compute the chain again:

- The text of a row is a JSON array: the name of the table, then its columns as `SealedTable.columns` lists them. It is
  spelled as Python's `json.dumps(…, ensure_ascii=False)` spells it. A time is text in UTC with microseconds
  (`2026-12-01T08:00:00.123456Z`), bytes are hexadecimal text, `jsonb` is the text that PostgreSQL shows.
- The digest of a row is the SHA-256 of its text in UTF-8. The content of a seal is the digests of its rows, one behind
  the other, in the order of time and key (texts of the key in the order of their UTF-8 bytes).
- The text of a seal is the JSON array `[version, tenant, table, number, rows, until, sealed_at, previous, SHA-256 of
  the content]`, with times in milliseconds, hashes in hexadecimal, and null for `previous` in seal 1. Its hash is the
  SHA-256 of that text.
- A seal covers the rows behind those of the seal before it, up to its last row; and where it is not full, all rows with
  a time before `until`. So the seals leave no time out, and a row that is dated back lies where it was not before.

A seal keeps the digests, so the chain can be checked when retention has deleted rows; the rows that are left must still
be among them.
"""
