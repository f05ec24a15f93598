-- What programs leave in transactions of their own, for the leader to take in: tasks (`submit`), cancels, and
-- the ends of attempts of SQL tasks. The ids give the order of one transaction, not that of commits.
CREATE TABLE inbox (
    inbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('submit', 'cancel', 'end')),
    task_id text COLLATE "C" NOT NULL,
    body jsonb NOT NULL,
    sender text NOT NULL DEFAULT session_user,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX inbox_by_task ON inbox (task_id);

-- Idempotency keys of tasks from here, claimed with the task: who else uses one waits for that transaction.
-- Those that the leader has let in are in idempotency_keys besides, where other doors look.
CREATE TABLE inbox_keys (
    key text COLLATE "C" PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_keys_by_age ON inbox_keys (claimed_at);
