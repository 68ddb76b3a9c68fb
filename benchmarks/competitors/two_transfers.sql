-- A redemption as two transfers, without HTTP: from what a user may spend to what is held, and from there to the vendor.
\set user random(1, :accounts)
SELECT transfers.move('available-' || :user, 'held-' || :user, 1);
SELECT transfers.move('held-' || :user, 'vendor', 1);
