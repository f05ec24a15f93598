-- Recorded refusals. What is decided again within an hour is one row that counts; its id says so.
CREATE TABLE decisions (
    decision_id text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    first_at timestamptz NOT NULL,
    count bigint NOT NULL,
    code text NOT NULL,
    task_id text COLLATE "C",
    actor text NOT NULL,
    door text,
    message text NOT NULL,
    details json NOT NULL
);
CREATE INDEX decisions_newest ON decisions (at DESC, decision_id DESC);
CREATE INDEX decisions_of_task ON decisions (task_id) WHERE task_id IS NOT NULL;
