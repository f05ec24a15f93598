-- name: ready
WITH RECURSIVE firsts AS (
    (
        SELECT precedence, run_at, task_id
        FROM live_tasks
        WHERE due AND NOT blocked
        ORDER BY precedence, run_at, created_at, task_id
        LIMIT 1
    )
    UNION ALL
    SELECT following.*
    FROM firsts
    CROSS JOIN LATERAL (
        SELECT l.precedence, l.run_at, l.task_id
        FROM live_tasks l
        WHERE l.due AND NOT l.blocked AND l.precedence > firsts.precedence
        ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
        LIMIT 1
    ) following
)
SELECT task_id,
       run_at,
       (
           SELECT count(*)
           FROM (
               SELECT
               FROM live_tasks
               WHERE due AND NOT blocked
               ORDER BY precedence, run_at, created_at, task_id
               LIMIT $1
           ) counted
       ) AS tasks
FROM (SELECT * FROM firsts LIMIT $2) looked_at
ORDER BY run_at, task_id
LIMIT 1

-- name: blocked
WITH RECURSIVE shapes AS (
    (SELECT shape FROM live_tasks WHERE blocked AND line IS NULL ORDER BY shape LIMIT 1)
    UNION ALL
    SELECT (
        SELECT l.shape
        FROM live_tasks l
        WHERE l.blocked AND l.line IS NULL AND l.shape > s.shape
        ORDER BY l.shape
        LIMIT 1
    )
    FROM shapes s
    WHERE s.shape IS NOT NULL
)
SELECT s.shape, longest.*
FROM (SELECT shape FROM shapes WHERE shape IS NOT NULL LIMIT $2) s
CROSS JOIN LATERAL (
    SELECT (array_agg(head.task_id ORDER BY head.run_at, head.task_id))[1] AS task_id,
           min(head.run_at) AS run_at,
           count(*) AS tasks
    FROM (
        SELECT l.task_id, l.run_at
        FROM live_tasks l
        WHERE l.blocked AND l.line IS NULL AND l.shape = s.shape
        ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
        LIMIT $3
    ) head
) longest
WHERE longest.task_id IS NOT NULL
ORDER BY longest.run_at, s.shape
LIMIT $1

-- name: suspects
SELECT l.*
FROM live_tasks l
LEFT JOIN node_records n ON n.node_id = l.node_id
WHERE l.node_id IS NOT NULL
  AND l.status IN ('scheduled', 'running')
  AND (
      n.node_id IS NULL
      OR n.status <> 'online'
      OR l.detail ->> 'held' IS NOT NULL
      OR (l.status = 'scheduled' AND coalesce(l.scheduled_at, l.created_at) < $1)
  )
ORDER BY l.created_at, l.task_id
LIMIT $2

-- name: failed
SELECT count(*) AS tasks
FROM (SELECT FROM ended_tasks WHERE status = 'failed' AND created_at >= $1 LIMIT $2) failed

-- name: server
SELECT clock_timestamp() AS now,
       current_setting('server_version_num')::integer AS version,
       current_setting('server_version') AS version_name,
       (SELECT max(version) FROM podling_migrations) AS schema_version,
       pg_database_size(current_database()) AS total_bytes

-- name: settings
SELECT name, setting
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'max_connections',
               'superuser_reserved_connections', 'idle_in_transaction_session_timeout', 'statement_timeout')
UNION ALL
SELECT 'is_superuser', current_setting('is_superuser')

-- name: sessions
SELECT count(*) FILTER (WHERE datid IS NOT NULL) AS connections,
       count(*) FILTER (WHERE datname = current_database() AND query = '<insufficient privilege>') AS hidden
FROM pg_stat_activity

-- name: transactions
SELECT pid,
       usename AS login,
       application_name AS application,
       state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
       backend_xid IS NOT NULL OR backend_xmin IS NOT NULL AS holds_back
FROM pg_stat_activity
WHERE datname = current_database()
  AND xact_start <= clock_timestamp() - $1::interval
  AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
ORDER BY xact_start
LIMIT $2

-- name: prepared
SELECT gid
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared <= clock_timestamp() - $1::interval
ORDER BY prepared
LIMIT 20

-- name: idle_slots
SELECT slot_name FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1 LIMIT 20

-- name: tables
SELECT statistics.relname AS name,
       statistics.n_live_tup AS live_rows,
       statistics.n_dead_tup AS dead_rows,
       pg_total_relation_size(statistics.relid) AS total_bytes
FROM unnest($1::text[]) AS wanted (name)
JOIN pg_stat_user_tables statistics ON statistics.relid = to_regclass(wanted.name)
ORDER BY 1
