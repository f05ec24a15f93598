-- name: load
SELECT * FROM all_tasks WHERE task_id = ANY ($1::text[])

-- name: specs
SELECT task_id, body FROM task_specs WHERE task_id = ANY ($1::text[])

-- name: spec_filter
($1::text IS NULL OR s.kind = $1)
  AND ($2::text IS NULL OR s.queue = $2)
  AND ($3::text IS NULL OR s.name = $3)
  AND ($4::jsonb IS NULL OR s.labels <> '{}' AND s.labels @> $4)
  AND ($5::jsonb IS NULL OR NOT EXISTS (
      SELECT
      FROM jsonb_to_recordset($5) AS wanted (label text, operator text, values jsonb)
      WHERE (s.labels ? wanted.label AND (
                wanted.operator IN ('in', 'exists')
                AND (wanted.operator = 'exists' OR wanted.values ? (s.labels ->> wanted.label))
                OR wanted.operator = 'notIn' AND NOT wanted.values ? (s.labels ->> wanted.label)
            ) OR NOT s.labels ? wanted.label AND wanted.operator IN ('notIn', 'doesNotExist')) IS NOT TRUE
  ))

-- name: list_by_spec
-- Each list walks one index in the order of its pages, and looks up one row for each that it finds there:
-- OFFSET 0 keeps the planner from anything else, whatever its statistics say.
SELECT t.*
FROM task_specs s
CROSS JOIN LATERAL (SELECT * FROM all_tasks a WHERE a.task_id = s.task_id OFFSET 0) t
WHERE
-- include: spec_filter
  AND ($6::timestamptz IS NULL OR (s.created_at, s.task_id) < ($6, $7::text))
  AND ($9::text IS NULL OR t.node_id = $9)
  AND ($10::text[] IS NULL OR t.status = ANY ($10))
ORDER BY s.created_at DESC, s.task_id DESC
LIMIT $8

-- name: list_on_node
SELECT t.*
FROM all_tasks t
CROSS JOIN LATERAL (SELECT * FROM task_specs o WHERE o.task_id = t.task_id OFFSET 0) s
WHERE
-- include: spec_filter
  AND ($6::timestamptz IS NULL OR (t.created_at, t.task_id) < ($6, $7::text))
  AND t.node_id = $9
  AND ($10::text[] IS NULL OR t.status = ANY ($10))
ORDER BY t.created_at DESC, t.task_id DESC
LIMIT $8

-- name: list_by_status
SELECT newest.*
FROM unnest($9::text[]) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT t.*
    FROM all_tasks t
    CROSS JOIN LATERAL (SELECT * FROM task_specs o WHERE o.task_id = t.task_id OFFSET 0) s
    WHERE t.status = wanted.status
      AND t.lane = CASE WHEN wanted.status IN ('scheduled', 'running') THEN 'placed' ELSE wanted.status END
      AND
-- include: spec_filter
      AND ($6::timestamptz IS NULL OR (t.created_at, t.task_id) < ($6, $7::text))
    ORDER BY t.created_at DESC, t.task_id DESC
    LIMIT $8
) newest
ORDER BY newest.created_at DESC, newest.task_id DESC
LIMIT $8

-- name: attempts
SELECT body FROM attempts WHERE task_id = $1 AND attempt > $2 ORDER BY attempt LIMIT $3

-- name: add_events
INSERT INTO task_events (task_id, type, body)
SELECT new.task_id, new.type, new.body
FROM ROWS FROM (json_to_recordset($1::json) AS (task_id text, type text, body json))
    WITH ORDINALITY AS new (task_id, type, body, place)
WHERE EXISTS (SELECT FROM task_specs s WHERE s.task_id = new.task_id)
ORDER BY new.place

-- name: events
SELECT body FROM task_events WHERE task_id = $1 ORDER BY event_id

-- name: events_of_type
-- Task by task, or statistics taken while there were few would make it read all in the order of events.
SELECT told.body
FROM (SELECT DISTINCT unnest($1::text[]) AS task_id) wanted
CROSS JOIN LATERAL (
    SELECT e.event_id, e.body FROM task_events e WHERE e.task_id = wanted.task_id AND e.type = $2 OFFSET 0
) told
ORDER BY told.event_id

-- name: ready
SELECT *
FROM live_tasks
WHERE due AND NOT blocked AND NOT task_id = ANY ($2::text[])
ORDER BY precedence, run_at, created_at, task_id
LIMIT $1

-- name: ready_ahead_of
SELECT count(*) AS ahead
FROM (
    SELECT
    FROM live_tasks
    WHERE due AND NOT blocked
      AND (precedence, run_at, created_at, task_id) < ($1::bigint, $2::timestamptz, $3::timestamptz, $4::text)
    LIMIT $5
) ready

-- name: promote
WITH chosen AS (
    SELECT task_id
    FROM live_tasks
    WHERE node_id IS NULL AND NOT due AND run_at <= $1
    ORDER BY run_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
promoted AS (
    UPDATE live_tasks l SET due = true FROM chosen WHERE l.task_id = chosen.task_id RETURNING 1
)
SELECT count(*) AS promoted FROM promoted

-- name: next_run_at
SELECT min(run_at) AS run_at FROM live_tasks WHERE node_id IS NULL AND NOT due

-- name: block
WITH chosen AS (
    SELECT task_id
    FROM live_tasks
    WHERE task_id = ANY ($1::text[]) AND status = 'pending'
    ORDER BY task_id
    FOR UPDATE
)
UPDATE live_tasks l SET blocked = true, line = NULL FROM chosen WHERE l.task_id = chosen.task_id

-- name: unblock
-- Counts what was found and not what was written: one of them may be changed by others meanwhile.
WITH first AS (
    SELECT wanted.shape, chosen.task_id
    FROM unnest($1::text[], $2::bigint[]) AS wanted (shape, room)
    CROSS JOIN LATERAL (
        SELECT task_id
        FROM live_tasks l
        WHERE l.blocked AND l.line IS NULL AND l.shape = wanted.shape
        ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
        LIMIT wanted.room
    ) chosen
),
locked AS (
    SELECT task_id
    FROM live_tasks
    WHERE task_id = ANY (ARRAY (SELECT task_id FROM first)) AND blocked
    ORDER BY task_id
    FOR UPDATE
),
unblocked AS (
    UPDATE live_tasks l SET blocked = false FROM locked WHERE l.task_id = locked.task_id
)
SELECT shape, count(*) AS tasks FROM first GROUP BY shape

-- name: blocked_shapes
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
SELECT head.*
FROM shapes s
CROSS JOIN LATERAL (
    SELECT *
    FROM live_tasks l
    WHERE l.blocked AND l.line IS NULL AND l.shape = s.shape
    ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
    LIMIT 1
) head

-- name: overdue
SELECT task_id, queue_timeout_at, deadline_at, least(queue_timeout_at, deadline_at) AS at
FROM live_tasks
WHERE least(queue_timeout_at, deadline_at) <= $1
  AND (least(queue_timeout_at, deadline_at), task_id)
      > (coalesce($3::timestamptz, '-infinity'), coalesce($4::text, ''))
ORDER BY least(queue_timeout_at, deadline_at), task_id
LIMIT $2

-- name: next_overdue_at
SELECT min(least(queue_timeout_at, deadline_at)) AS at
FROM live_tasks
WHERE least(queue_timeout_at, deadline_at) IS NOT NULL

-- name: count
-- What waits lies in three indexes, each read no further than to a limit, and never in the table.
SELECT status, count(*) AS tasks FROM live_tasks WHERE node_id IS NOT NULL GROUP BY status
UNION ALL
SELECT 'pending',
       (SELECT count(*) FROM (SELECT FROM live_tasks WHERE due AND NOT blocked LIMIT $2) ready)
       + (SELECT count(*) FROM (SELECT FROM live_tasks WHERE blocked AND line IS NULL LIMIT $2) blocked)
       + (SELECT count(*) FROM (SELECT FROM live_tasks WHERE blocked AND line IS NOT NULL LIMIT $2) lined)
       + (SELECT count(*) FROM (
           SELECT FROM live_tasks WHERE node_id IS NULL AND NOT due AND NOT blocked LIMIT $2
       ) later)
UNION ALL
SELECT ended.status, ended.tasks
FROM unnest(ARRAY ['completed', 'failed', 'cancelled']) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT wanted.status, count(*) AS tasks
    FROM (SELECT FROM ended_tasks e WHERE e.status = wanted.status LIMIT $1) newest
) ended

-- name: count_pending
SELECT
    (SELECT count(*) FROM (
        SELECT FROM live_tasks WHERE due AND NOT blocked LIMIT $1
    ) found) AS ready,
    (SELECT count(*) FROM (SELECT FROM live_tasks WHERE blocked AND line IS NULL LIMIT $1) found) AS blocked,
    (SELECT count(*) FROM (SELECT FROM live_tasks WHERE blocked AND line IS NOT NULL LIMIT $1) found) AS lined,
    (SELECT count(*) FROM (
        SELECT FROM live_tasks WHERE node_id IS NULL AND NOT due LIMIT $1
    ) found) AS later

-- name: live
SELECT * FROM live_tasks WHERE node_id IS NOT NULL AND status IN ('scheduled', 'running')

-- name: cursors
WITH RECURSIVE writers AS (
    (SELECT master_id FROM changes ORDER BY master_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.master_id FROM changes c WHERE c.master_id > w.master_id ORDER BY c.master_id LIMIT 1)
    FROM writers w
    WHERE w.master_id IS NOT NULL
)
SELECT w.master_id, (SELECT max(c.number) FROM changes c WHERE c.master_id = w.master_id) AS number
FROM writers w
WHERE w.master_id IS NOT NULL

-- name: changes_after
-- A task's changes follow each other in the order in which their transactions began, whoever wrote them:
-- each needed the version before. The running maximum keeps every master's numbers in their order even
-- if the server's clock has been set back.
WITH RECURSIVE writers AS (
    (SELECT master_id FROM changes ORDER BY master_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.master_id FROM changes c WHERE c.master_id > w.master_id ORDER BY c.master_id LIMIT 1)
    FROM writers w
    WHERE w.master_id IS NOT NULL
)
SELECT batch.*
FROM writers w
LEFT JOIN unnest($1::text[], $2::bigint[]) AS seen (master_id, number) ON seen.master_id = w.master_id
CROSS JOIN LATERAL (
    SELECT
        c.master_id,
        c.number,
        c.body,
        max(c.committed_at) OVER (ORDER BY c.number ROWS UNBOUNDED PRECEDING) AS began_at
    FROM changes c
    WHERE c.master_id = w.master_id AND c.number > coalesce(seen.number, -1)
    ORDER BY c.number
    LIMIT $3
) batch
WHERE w.master_id IS NOT NULL
ORDER BY batch.began_at, batch.master_id, batch.number
LIMIT $3

-- name: changes_kept
WITH RECURSIVE writers AS (
    (SELECT master_id FROM changes ORDER BY master_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.master_id FROM changes c WHERE c.master_id > w.master_id ORDER BY c.master_id LIMIT 1)
    FROM writers w
    WHERE w.master_id IS NOT NULL
)
SELECT
    w.master_id,
    (SELECT min(c.number) FROM changes c WHERE c.master_id = w.master_id) AS oldest,
    (SELECT max(c.number) FROM changes c WHERE c.master_id = w.master_id) AS newest
FROM writers w
WHERE w.master_id IS NOT NULL
