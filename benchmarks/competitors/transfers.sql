-- A ledger of transfers between accounts in SQL functions, as pgledger has it: a transfer locks both accounts in one
-- order, moves the balances, and leaves two entries with the balances before and after.
CREATE SCHEMA transfers;
CREATE TABLE transfers.accounts (
    id text PRIMARY KEY,
    balance bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    allow_negative boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (allow_negative OR balance >= 0)
);
CREATE TABLE transfers.transfers (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    from_account text NOT NULL REFERENCES transfers.accounts,
    to_account text NOT NULL REFERENCES transfers.accounts,
    amount bigint NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (from_account <> to_account)
);
CREATE INDEX ON transfers.transfers (from_account);
CREATE INDEX ON transfers.transfers (to_account);
CREATE TABLE transfers.entries (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id text NOT NULL REFERENCES transfers.accounts,
    transfer_id uuid NOT NULL REFERENCES transfers.transfers,
    amount bigint NOT NULL,
    previous_balance bigint NOT NULL,
    current_balance bigint NOT NULL,
    account_version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON transfers.entries (account_id, account_version);
CREATE INDEX ON transfers.entries (transfer_id);

CREATE FUNCTION transfers.move(from_id text, to_id text, moved bigint) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid;
    giver transfers.accounts;
    taker transfers.accounts;
BEGIN
    PERFORM FROM transfers.accounts WHERE id IN (from_id, to_id) ORDER BY id FOR UPDATE;
    INSERT INTO transfers.transfers (from_account, to_account, amount) VALUES (from_id, to_id, moved)
        RETURNING id INTO made;
    UPDATE transfers.accounts SET balance = balance - moved, version = version + 1, updated_at = now()
        WHERE id = from_id RETURNING * INTO giver;
    UPDATE transfers.accounts SET balance = balance + moved, version = version + 1, updated_at = now()
        WHERE id = to_id RETURNING * INTO taker;
    INSERT INTO transfers.entries
        (account_id, transfer_id, amount, previous_balance, current_balance, account_version) VALUES
        (from_id, made, -moved, giver.balance + moved, giver.balance, giver.version),
        (to_id, made, moved, taker.balance - moved, taker.balance, taker.version);
    RETURN made;
END $$;
