-- What a transition changes is in no index where that can be helped, nor in the condition of one: then the
-- row is rewritten within its page (HOT), and no index is touched. A task on a node keeps its `node_id`,
-- so that one tells who waits and who does not, and not `status`; only a pending task is `due`.
DROP INDEX live_tasks_ready;
CREATE INDEX live_tasks_ready ON live_tasks (precedence, run_at, created_at, task_id) WHERE due AND NOT blocked;
DROP INDEX live_tasks_waiting;
CREATE INDEX live_tasks_waiting ON live_tasks (run_at) WHERE node_id IS NULL AND NOT due;
DROP INDEX live_tasks_by_status;
CREATE INDEX live_tasks_by_lane ON live_tasks (
    ((CASE WHEN node_id IS NULL THEN 'pending' ELSE 'placed' END) COLLATE "C"), created_at, task_id
);

-- Half of each page is left for the next versions of its rows.
ALTER TABLE live_tasks SET (fillfactor = 50);
ALTER TABLE attempts SET (fillfactor = 50);

-- Lists in the order of their pages. Labels that there are not cost nothing, and none waits for a
-- clean-up of those written before it.
CREATE INDEX task_specs_by_queue ON task_specs (queue, created_at, task_id);
CREATE INDEX task_specs_by_name ON task_specs (name, created_at, task_id);
CREATE INDEX task_specs_by_label ON task_specs USING gin (labels jsonb_path_ops)
    WITH (fastupdate = off) WHERE labels <> '{}';

CREATE OR REPLACE VIEW all_tasks AS
SELECT task_id, version, status, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
       finished_at, exit_code, error_code, detail,
       (CASE WHEN node_id IS NULL THEN 'pending' ELSE 'placed' END) COLLATE "C" AS lane
FROM live_tasks
UNION ALL
SELECT task_id, version, status, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
       finished_at, exit_code, error_code, detail,
       status COLLATE "C" AS lane
FROM ended_tasks;

-- A status is looked for in one part alone.
CREATE OR REPLACE VIEW tasks AS
SELECT l.task_id,
       s.name,
       s.body -> 'containers' -> 0 ->> 'image' AS image,
       (s.body -> 'containers' -> 0 -> 'env')::jsonb AS env,
       l.status,
       l.node_id,
       l.detail -> 'containers' -> 0 ->> 'container_id' AS container_id,
       l.created_at,
       l.started_at,
       l.finished_at,
       l.detail ->> 'error' AS error,
       l.attempt,
       l.exit_code,
       l.error_code,
       l.run_at,
       -l.precedence AS priority,
       s.kind,
       s.queue,
       s.labels
FROM live_tasks l
JOIN task_specs s ON s.task_id = l.task_id
WHERE (CASE WHEN l.node_id IS NULL THEN 'pending' ELSE 'placed' END) COLLATE "C" = 'placed'
UNION ALL
SELECT l.task_id,
       s.name,
       s.body -> 'containers' -> 0 ->> 'image',
       (s.body -> 'containers' -> 0 -> 'env')::jsonb,
       'pending',
       l.node_id,
       l.detail -> 'containers' -> 0 ->> 'container_id',
       l.created_at,
       l.started_at,
       l.finished_at,
       l.detail ->> 'error',
       l.attempt,
       l.exit_code,
       l.error_code,
       l.run_at,
       -l.precedence,
       s.kind,
       s.queue,
       s.labels
FROM live_tasks l
JOIN task_specs s ON s.task_id = l.task_id
WHERE (CASE WHEN l.node_id IS NULL THEN 'pending' ELSE 'placed' END) COLLATE "C" = 'pending'
UNION ALL
SELECT e.task_id,
       s.name,
       s.body -> 'containers' -> 0 ->> 'image',
       (s.body -> 'containers' -> 0 -> 'env')::jsonb,
       e.status,
       e.node_id,
       e.detail -> 'containers' -> 0 ->> 'container_id',
       e.created_at,
       e.started_at,
       e.finished_at,
       e.detail ->> 'error',
       e.attempt,
       e.exit_code,
       e.error_code,
       e.run_at,
       -e.precedence,
       s.kind,
       s.queue,
       s.labels
FROM ended_tasks e
JOIN task_specs s ON s.task_id = e.task_id;
