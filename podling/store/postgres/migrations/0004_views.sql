-- What SQL clients of the reference know: relations `tasks` and `nodes` with its columns and more.

CREATE VIEW tasks AS
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

CREATE VIEW nodes AS
SELECT n.node_id,
       n.body ->> 'hostname' AS hostname,
       (n.body ->> 'port')::integer AS port,
       n.status,
       (n.body -> 'allocatable' ->> 'slots')::bigint AS capacity,
       (SELECT count(*) FROM live_tasks l WHERE l.node_id = n.node_id) AS running_tasks,
       b.at AS last_heartbeat,
       n.session_no,
       n.registered_at
FROM node_records n
JOIN node_beats b ON b.node_id = n.node_id;
