-- Queues that were used or declared, with what operators say about them; no body is no limit.
CREATE TABLE queues (
    name text COLLATE "C" PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    body json
);
INSERT INTO queues (name)
SELECT DISTINCT s.queue FROM live_tasks l JOIN task_specs s ON s.task_id = l.task_id;

-- The line in which a task waits for its queue or its key, out of the ready order; it is `blocked` then too.
ALTER TABLE live_tasks ADD COLUMN line text COLLATE "C";
DROP INDEX live_tasks_blocked;
CREATE INDEX live_tasks_blocked ON live_tasks (shape, precedence, run_at, created_at, task_id)
    WHERE blocked AND line IS NULL;
CREATE INDEX live_tasks_lines ON live_tasks (line, precedence, run_at, created_at, task_id)
    WHERE blocked AND line IS NOT NULL;
