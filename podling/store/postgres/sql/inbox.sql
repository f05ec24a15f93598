-- name: put
INSERT INTO inbox (kind, task_id, body) VALUES ($1, $2, $3::jsonb) RETURNING inbox_id

-- name: page
-- The first one in any case, however large it is. Bodies become text after that is decided.
SELECT inbox_id, kind, task_id, body::text AS body, sender, received_at
FROM (
    SELECT *, sum(bytes) OVER (ORDER BY inbox_id) - bytes AS bytes_before
    FROM (SELECT * FROM inbox WHERE inbox_id > $1 ORDER BY inbox_id LIMIT $2) AS first_rows
) AS measured
WHERE bytes_before < $3
ORDER BY inbox_id

-- name: depth
SELECT items, CASE WHEN items > 0 THEN greatest(extract(epoch FROM clock_timestamp() - oldest), 0)::float8 END
    AS oldest_seconds
FROM (
    SELECT count(*) AS items, min(received_at) AS oldest
    FROM (SELECT received_at FROM inbox ORDER BY inbox_id LIMIT $1) AS first_rows
) AS counted

-- name: remove
-- By arrays: a join would read all of the inbox where statistics say that there is nothing.
DELETE FROM inbox
WHERE inbox_id = ANY ($1::bigint[])
  AND task_id <> ALL (
      ARRAY(
          SELECT task_id
          FROM inbox
          WHERE task_id = ANY (ARRAY(SELECT task_id FROM inbox WHERE inbox_id = ANY ($1::bigint[])))
            AND kind = 'submit'
      )
  )

-- name: take
-- Returns those that were there. What was refused ($2) gives up its key: it may come again, corrected.
WITH taken AS (
    DELETE FROM inbox
    WHERE inbox_id = ANY ($1::bigint[])
    RETURNING inbox_id, task_id, body ->> 'idempotencyKey' AS key
),
given_up AS (
    DELETE FROM inbox_keys k
    USING taken t
    WHERE k.key = t.key AND k.task_id = t.task_id AND t.inbox_id = ANY ($2::bigint[])
),
-- What is the same as a task that another door has let in leaves its key to that.
left_to_the_first AS (
    UPDATE inbox_keys k
    SET task_id = o.task_id
    FROM taken t
    JOIN idempotency_keys o ON o.key = t.key
    WHERE k.key = t.key
      AND k.task_id = t.task_id
      AND o.task_id <> k.task_id
      AND t.inbox_id <> ALL ($2::bigint[])
)
SELECT inbox_id FROM taken
