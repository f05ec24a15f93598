-- Graphs that were submitted as one; the body names their tasks. Rows go when the last of those is forgotten.
CREATE TABLE workflows (
    workflow_id text COLLATE "C" PRIMARY KEY,
    created_at timestamptz NOT NULL,
    idempotency_key text COLLATE "C" UNIQUE,
    body json NOT NULL
);
CREATE INDEX workflows_newest ON workflows (created_at, workflow_id);
