-- name: ready
SELECT task_id, run_at, count(*) OVER () AS tasks
FROM live_tasks
WHERE status = 'pending' AND due AND NOT blocked
ORDER BY run_at, task_id
LIMIT 1

-- name: blocked
SELECT shape, (array_agg(task_id ORDER BY run_at, task_id))[1] AS task_id, min(run_at) AS run_at, count(*) AS tasks
FROM live_tasks
WHERE blocked
GROUP BY shape
ORDER BY min(run_at), shape
LIMIT $1

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
