-- What squawk must find: each of these stops requests, or the version that runs meanwhile.
BEGIN;
CREATE INDEX entries_reason_idx ON points_ledger.entries (reason);
ALTER TABLE points_ledger.entries ADD CONSTRAINT entries_reason_check CHECK (reason <> '');
ALTER TABLE points_ledger.entries ALTER COLUMN reason SET NOT NULL;
ALTER TABLE points_ledger.entries ALTER COLUMN reason TYPE bytea USING reason::bytea;
ALTER TABLE points_ledger.entries RENAME COLUMN reason TO why;
ALTER TABLE points_ledger.entries DROP COLUMN reason;
ALTER TABLE points_ledger.entries ADD COLUMN much text NOT NULL;
COMMIT;
