-- Queues that were used or declared, with what operators say about them; no body is no limit.
CREATE TABLE queues (
    name text COLLATE "C" PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    body json
);
INSERT INTO queues (name)
SELECT DISTINCT s.queue FROM live_tasks l JOIN task_specs s ON s.task_id = l.task_id;
