-- What has failed for good and was neither dismissed nor replayed: few rows, whatever history holds.
CREATE TABLE dead_letters (
    task_id text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    queue text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    error_code text COLLATE "C"
);
CREATE INDEX dead_letters_newest ON dead_letters (at, task_id);
CREATE INDEX dead_letters_by_queue ON dead_letters (queue, at, task_id);
CREATE INDEX dead_letters_by_reason ON dead_letters (reason, at, task_id);
CREATE INDEX dead_letters_by_error_code ON dead_letters (error_code, at, task_id);

INSERT INTO dead_letters (task_id, at, queue, reason, error_code)
SELECT e.task_id, coalesce(e.finished_at, e.created_at), s.queue, e.detail ->> 'dead_letter_reason', e.error_code
FROM ended_tasks e
JOIN task_specs s ON s.task_id = e.task_id
WHERE e.status = 'failed'
  AND e.detail ->> 'dead_letter_reason' IS NOT NULL
  AND NOT EXISTS (SELECT FROM task_specs r WHERE r.body ->> 'replay_of' = e.task_id)
ON CONFLICT (task_id) DO NOTHING;

-- Submits of this minute, of each queue that has a limit of them.
CREATE TABLE submit_counts (
    queue text COLLATE "C" PRIMARY KEY,
    minute timestamptz NOT NULL,
    taken bigint NOT NULL,
    granted bigint NOT NULL
);
