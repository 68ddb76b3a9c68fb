-- What a batch of one does to the database, without HTTP: two transactions a run, a commit and its confirm.
\set user random(1, :accounts)
\set number random(1, 9000000000000000000)
BEGIN;
SELECT a.tenant, a.user_id, a.available, a.held, a.entries FROM points_ledger.accounts a JOIN unnest(ARRAY['bench'], ARRAY['user-' || :user]) AS wanted (tenant, user_id) USING (tenant, user_id) ORDER BY a.tenant, a.user_id FOR NO KEY UPDATE OF a;
SELECT clock_timestamp(), t.* FROM unnest(ARRAY['bench'], ARRAY['pgbench'], ARRAY['t-' || :number]) AS named (tenant, vendor_id, transaction_id) JOIN points_ledger.transactions t USING (tenant, vendor_id, transaction_id) UNION SELECT clock_timestamp(), t.* FROM unnest(ARRAY['bench'], ARRAY['user-' || :user]) AS owner (tenant, user_id), points_ledger.transactions t WHERE t.tenant = owner.tenant AND t.user_id = owner.user_id AND t.state = 'held' AND t.expires_at <= now();
UPDATE points_ledger.accounts SET available = available - 1, held = held + 1 WHERE tenant = 'bench' AND user_id = 'user-' || :user;
INSERT INTO points_ledger.transactions (tenant, vendor_id, transaction_id, user_id, state, points, deducted, refunded, description, created_at, expires_at, ended_at, touched_at) VALUES ('bench', 'pgbench', 't-' || :number, 'user-' || :user, 'held', 1, 0, 0, 'redemption for a benchmark', now(), now() + interval '15 minutes', NULL, now());
COMMIT;
BEGIN;
SELECT a.tenant, a.user_id, a.available, a.held, a.entries FROM points_ledger.accounts a JOIN unnest(ARRAY['bench'], ARRAY['user-' || :user]) AS wanted (tenant, user_id) USING (tenant, user_id) ORDER BY a.tenant, a.user_id FOR NO KEY UPDATE OF a;
SELECT clock_timestamp(), t.* FROM unnest(ARRAY['bench'], ARRAY['pgbench'], ARRAY['t-' || :number]) AS named (tenant, vendor_id, transaction_id) JOIN points_ledger.transactions t USING (tenant, vendor_id, transaction_id) UNION SELECT clock_timestamp(), t.* FROM unnest(ARRAY['bench'], ARRAY['user-' || :user]) AS owner (tenant, user_id), points_ledger.transactions t WHERE t.tenant = owner.tenant AND t.user_id = owner.user_id AND t.state = 'held' AND t.expires_at <= now();
WITH counted AS (UPDATE points_ledger.accounts SET held = held - 1, entries = entries + 1 WHERE tenant = 'bench' AND user_id = 'user-' || :user RETURNING tenant, user_id, entries, available + held AS total) INSERT INTO points_ledger.entries (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at) SELECT tenant, user_id, entries, 'redemption', -1, total, 'pgbench', 't-' || :number, 'redemption for a benchmark', now() FROM counted;
UPDATE points_ledger.transactions SET state = 'confirmed', deducted = 1, ended_at = now(), touched_at = now() WHERE tenant = 'bench' AND vendor_id = 'pgbench' AND transaction_id = 't-' || :number;
COMMIT;
