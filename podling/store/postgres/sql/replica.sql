-- name: position
SELECT (SELECT cluster_id FROM cluster) AS cluster_id, pg_current_wal_lsn()::text AS position

-- name: standing
-- A server that nobody writes to has nothing to be behind with, however long ago the last change was.
SELECT (SELECT cluster_id FROM cluster) AS cluster_id,
       CASE
           WHEN NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::text::pg_lsn THEN 0
           ELSE greatest(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
       END::float8 AS lag_seconds
