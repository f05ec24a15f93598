-- What programs coordinate themselves by. A program that uses podling.coordination over a pool of its own
-- makes these very tables, perhaps before any master does: so each is made unless it is there.

-- A row outlives its holder, so that the token in it is never given again. The database's clock decides.
CREATE TABLE IF NOT EXISTS podling_locks (
    key text COLLATE "C" PRIMARY KEY,
    owner text,
    token bigserial NOT NULL,
    acquired_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The lines of those that wait for a lock; whoever does not prolong their place is passed over.
CREATE TABLE IF NOT EXISTS podling_lock_waiters (
    ticket bigserial PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    alive_until timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS podling_lock_waiters_in_line ON podling_lock_waiters (key, ticket);

-- An open breaker is half open from `half_open_from` on; `probe_until` is the time of whoever tries then,
-- and `changed_in` the transaction that changed its state last.
CREATE TABLE IF NOT EXISTS podling_breakers (
    key text COLLATE "C" PRIMARY KEY,
    is_open boolean NOT NULL DEFAULT false,
    failure_count bigint NOT NULL DEFAULT 0,
    cool_down interval NOT NULL,
    last_failure_at timestamptz,
    last_success_at timestamptz,
    opened_at timestamptz,
    half_open_from timestamptz,
    probe_until timestamptz,
    changed_in bigint
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS podling_cache (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL,
    expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS podling_cache_by_end ON podling_cache (expires_at) WHERE expires_at IS NOT NULL;

-- The last sequence of each task, and the attempt that saved it: what a later attempt fences off.
CREATE TABLE IF NOT EXISTS podling_checkpoint_heads (
    task_id text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL,
    attempt bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS podling_checkpoints (
    task_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL UNIQUE,
    attempt bigint NOT NULL,
    at timestamptz NOT NULL,
    progress double precision,
    data text NOT NULL,
    estimated_seconds_remaining double precision,
    PRIMARY KEY (task_id, sequence)
);

-- `value` is null while whoever claimed the key works on it.
CREATE TABLE IF NOT EXISTS podling_idempotency (
    key text COLLATE "C" PRIMARY KEY,
    token bigserial NOT NULL,
    value text,
    expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS podling_idempotency_by_end
    ON podling_idempotency (expires_at) WHERE expires_at IS NOT NULL;
