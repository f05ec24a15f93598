-- name: months
SELECT to_char(month, '"ended_tasks_"YYYY_MM') AS name,
       month::text AS first,
       (month + interval '1 month')::text AS next
FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                     date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months',
                     interval '1 month') AS month
WHERE to_regclass(to_char(month, '"ended_tasks_"YYYY_MM')) IS NULL

-- name: drop_changes
-- The oldest first. Each master's last one stays for a day, so that who comes back can be told whether
-- anything is missing.
DELETE FROM changes
WHERE (master_id, number) IN (
    SELECT c.master_id, c.number
    FROM changes c
    WHERE c.committed_at < now() - interval '10 minutes'
      AND (
          c.committed_at < now() - interval '1 day'
          OR EXISTS (SELECT FROM changes newer WHERE newer.master_id = c.master_id AND newer.number > c.number)
      )
    ORDER BY c.committed_at
    LIMIT $1
)

-- name: drop_messages
DELETE FROM peer_messages
WHERE (recipient, number) IN (
    SELECT recipient, number FROM peer_messages WHERE posted_at < now() - interval '1 minute' LIMIT $1
)

-- name: drop_keys
DELETE FROM idempotency_keys
WHERE key IN (
    SELECT k.key
    FROM idempotency_keys k
    WHERE k.claimed_at < now() - interval '7 days'
      AND NOT EXISTS (SELECT FROM live_tasks l WHERE l.task_id = k.task_id)
    ORDER BY k.claimed_at
    LIMIT $1
)

-- name: drop_inbox_keys
DELETE FROM inbox_keys
WHERE key IN (
    SELECT k.key
    FROM inbox_keys k
    WHERE k.claimed_at < now() - interval '7 days'
      AND NOT EXISTS (SELECT FROM live_tasks l WHERE l.task_id = k.task_id)
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.task_id = k.task_id)
    ORDER BY k.claimed_at
    LIMIT $1
)

-- name: old_tasks
SELECT task_id
FROM ended_tasks
WHERE ended_at < now() - $1::interval
LIMIT $2

-- name: drop_tails
DELETE FROM log_tails WHERE task_id = ANY ($1::text[])

-- name: drop_events
DELETE FROM task_events WHERE task_id = ANY ($1::text[])

-- name: drop_letters
DELETE FROM dead_letters WHERE task_id = ANY ($1::text[])

-- name: drop_checkpoints
DELETE FROM podling_checkpoints WHERE task_id = ANY ($1::text[])

-- name: drop_checkpoint_heads
DELETE FROM podling_checkpoint_heads WHERE task_id = ANY ($1::text[])

-- name: drop_attempts
DELETE FROM attempts WHERE task_id = ANY ($1::text[])

-- name: drop_ended
DELETE FROM ended_tasks WHERE task_id = ANY ($1::text[])

-- name: drop_specs
DELETE FROM task_specs WHERE task_id = ANY ($1::text[])

-- name: drop_workflows
DELETE FROM workflows
WHERE workflow_id IN (
    SELECT w.workflow_id
    FROM workflows w
    WHERE w.created_at < now() - $1::interval
      AND NOT EXISTS (
          SELECT
          FROM json_array_elements(w.body -> 'members') AS member
          CROSS JOIN LATERAL (
              SELECT FROM task_specs s WHERE s.task_id = member ->> 'task_id' OFFSET 0
          ) known
      )
    ORDER BY w.created_at
    LIMIT $2
)

-- name: past_partitions
SELECT relation.relname AS name
FROM pg_inherits
JOIN pg_class relation ON relation.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = to_regclass('ended_tasks')
  AND relation.relname ~ '^ended_tasks_\d{4}_\d{2}$'
  AND relation.relname < to_char(now() AT TIME ZONE 'UTC', '"ended_tasks_"YYYY_MM')
