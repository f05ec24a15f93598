-- name: facts
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS made_at,
       current_setting('server_version') AS server,
       (SELECT cluster_id FROM cluster) AS cluster_id

-- name: tables
SELECT relation.oid::regclass::text AS quoted,
       relation.relname AS name,
       array_agg(attribute.attname::text ORDER BY attribute.attnum) AS columns
FROM unnest($1::text[]) AS wanted (name)
JOIN pg_class relation ON relation.oid = to_regclass(wanted.name) AND relation.relkind IN ('r', 'p')
JOIN pg_attribute attribute
  ON attribute.attrelid = relation.oid
  AND attribute.attnum > 0
  AND NOT attribute.attisdropped
  AND attribute.attgenerated = ''
GROUP BY relation.oid, relation.relname
ORDER BY relation.relname

-- name: partitions
SELECT relation.relname AS name
FROM pg_inherits
JOIN pg_class relation ON relation.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = to_regclass('ended_tasks')
  AND relation.relname ~ '^ended_tasks_\d{4}_\d{2}$'
ORDER BY 1

-- name: sequences
SELECT quote_ident(attribute.attname) AS column_name,
       pg_get_serial_sequence($1, attribute.attname) AS sequence
FROM pg_attribute attribute
WHERE attribute.attrelid = $1::regclass
  AND attribute.attnum > 0
  AND NOT attribute.attisdropped
  AND pg_get_serial_sequence($1, attribute.attname) IS NOT NULL

-- name: live_attempts
SELECT task_id, attempt FROM live_tasks WHERE status IN ('scheduled', 'running')

-- name: note
INSERT INTO task_events (task_id, type, body) VALUES ($1, $2, $3::json)

-- name: given
SELECT coalesce((SELECT max(epoch) FROM leadership), 0) AS epoch,
       greatest((SELECT max(session_no) FROM node_records), (SELECT max(session_no) FROM node_beats), 0)
           AS session_no,
       greatest(
           pg_sequence_last_value(to_regclass('podling_locks_token_seq')),
           pg_sequence_last_value(to_regclass('podling_idempotency_token_seq')),
           0
       ) AS token

-- name: leap
UPDATE leadership
SET epoch = greatest(epoch + $1, $2 + $1, (extract(epoch FROM now()) * 1000000)::bigint),
    holder = NULL,
    counter = 0

-- name: leap_sessions
UPDATE node_records
SET session_no = greatest(session_no + $1, $2 + $1, (extract(epoch FROM now()) * 1000000)::bigint)
WHERE session_no > 0

-- name: leap_beats
UPDATE node_beats
SET session_no = greatest(session_no + $1, $2 + $1, (extract(epoch FROM now()) * 1000000)::bigint)
WHERE session_no > 0

-- name: leap_tokens
-- Of locks and claims; a schema from before them has none.
SELECT setval(
    sequence::regclass,
    greatest(nextval(sequence::regclass) + $1, $2 + $1, (extract(epoch FROM now()) * 1000000)::bigint)
)
FROM unnest(ARRAY['podling_locks_token_seq', 'podling_idempotency_token_seq']) AS wanted (sequence)
WHERE to_regclass(sequence) IS NOT NULL
