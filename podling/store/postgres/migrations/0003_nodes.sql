CREATE TABLE node_records (
    node_id text COLLATE "C" PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('online', 'offline')),
    session_no bigint NOT NULL DEFAULT 0,
    registered_at timestamptz NOT NULL,
    body json NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX node_records_by_status ON node_records (status);

-- One narrow row for every node, rewritten in bulk once a second; `at` is its last heartbeat.
CREATE TABLE node_beats (
    node_id text COLLATE "C" PRIMARY KEY,
    session_no bigint NOT NULL,
    counter bigint NOT NULL,
    at timestamptz NOT NULL,
    lost boolean NOT NULL DEFAULT false
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX node_beats_by_age ON node_beats (at);
