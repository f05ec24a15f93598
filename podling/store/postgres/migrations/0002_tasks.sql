-- Bodies that are only read whole are json, not jsonb: that costs the server a seventh.

-- What never changes about a task. Transitions neither read nor rewrite it.
CREATE TABLE task_specs (
    task_id text COLLATE "C" PRIMARY KEY,
    created_at timestamptz NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    queue text NOT NULL,
    labels jsonb NOT NULL,
    body json NOT NULL
);
CREATE INDEX task_specs_newest ON task_specs (kind, created_at, task_id);

-- Tasks that have not ended: narrow rows, rewritten by every transition.
CREATE TABLE live_tasks (
    task_id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    status text NOT NULL CHECK (status IN ('pending', 'scheduled', 'running')),
    -- Minus the priority, so that the whole claim order runs in one direction.
    precedence bigint NOT NULL,
    shape text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    node_id text COLLATE "C",
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    scheduled_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    due boolean NOT NULL,
    blocked boolean NOT NULL DEFAULT false,
    queue_timeout_at timestamptz,
    deadline_at timestamptz,
    exit_code bigint,
    error_code text,
    -- What few tasks have: budgets spent, messages, stop orders, containers; null when all is default.
    detail json,
    CHECK (status = 'pending' OR node_id IS NOT NULL),
    CHECK (status = 'pending' OR NOT blocked)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX live_tasks_ready ON live_tasks (precedence, run_at, created_at, task_id)
    WHERE status = 'pending' AND due AND NOT blocked;
CREATE INDEX live_tasks_waiting ON live_tasks (run_at) WHERE status = 'pending' AND NOT due;
CREATE INDEX live_tasks_blocked ON live_tasks (shape) WHERE blocked;
CREATE INDEX live_tasks_overdue ON live_tasks ((least(queue_timeout_at, deadline_at)))
    WHERE least(queue_timeout_at, deadline_at) IS NOT NULL;
CREATE INDEX live_tasks_by_status ON live_tasks (status, created_at, task_id);
CREATE INDEX live_tasks_by_node ON live_tasks (node_id, created_at, task_id) WHERE node_id IS NOT NULL;

-- Tasks that have ended, by the month of the commit that ended them, on the database's own clock.
CREATE TABLE ended_tasks (
    task_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('completed', 'failed', 'cancelled')),
    precedence bigint NOT NULL,
    shape text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    node_id text COLLATE "C",
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    scheduled_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    exit_code bigint,
    error_code text,
    detail json,
    ended_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (ended_at);
CREATE TABLE ended_tasks_default PARTITION OF ended_tasks DEFAULT;
CREATE INDEX ended_tasks_by_id ON ended_tasks (task_id);
CREATE INDEX ended_tasks_by_status ON ended_tasks (status, created_at, task_id);
CREATE INDEX ended_tasks_by_node ON ended_tasks (node_id, created_at, task_id) WHERE node_id IS NOT NULL;

CREATE TABLE attempts (
    task_id text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL CHECK (attempt > 0),
    node_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (task_id, attempt)
) WITH (fillfactor = 70);

CREATE TABLE task_events (
    event_id bigserial PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    body json NOT NULL
);
CREATE INDEX task_events_by_task ON task_events (task_id, event_id);

CREATE TABLE idempotency_keys (
    key text COLLATE "C" PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    body_hash text,
    claimed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at);

-- The newest output of every attempt.
CREATE TABLE log_tails (
    task_id text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    frames bytea NOT NULL,
    dropped_bytes bigint NOT NULL,
    final boolean NOT NULL,
    PRIMARY KEY (task_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Every task's state, wherever its row lies.
CREATE VIEW all_tasks AS
SELECT task_id, version, status, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
       finished_at, exit_code, error_code, detail
FROM live_tasks
UNION ALL
SELECT task_id, version, status, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
       finished_at, exit_code, error_code, detail
FROM ended_tasks;
