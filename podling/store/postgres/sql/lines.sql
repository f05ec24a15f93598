-- name: set_aside
WITH chosen AS (
    SELECT l.task_id, new.line
    FROM live_tasks l
    JOIN unnest($1::text[], $2::text[]) AS new (task_id, line) ON new.task_id = l.task_id
    WHERE l.task_id = ANY ($1::text[]) AND l.status = 'pending'
    ORDER BY l.task_id
    FOR UPDATE OF l
)
UPDATE live_tasks l SET blocked = true, line = chosen.line FROM chosen WHERE l.task_id = chosen.task_id

-- name: recall
-- Counts what was found and not what was written: one of them may be changed by others meanwhile.
WITH first AS (
    SELECT wanted.line, chosen.task_id
    FROM unnest($1::text[], $2::bigint[]) AS wanted (line, room)
    CROSS JOIN LATERAL (
        SELECT task_id
        FROM live_tasks l
        WHERE l.blocked AND l.line IS NOT NULL AND l.line = wanted.line
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
recalled AS (
    UPDATE live_tasks l SET blocked = false, line = NULL FROM locked WHERE l.task_id = locked.task_id
)
SELECT line, count(*) AS tasks FROM first GROUP BY line

-- name: heads
SELECT head.*
FROM unnest($1::text[], $2::bigint[]) AS wanted (line, room)
CROSS JOIN LATERAL (
    SELECT *
    FROM live_tasks l
    WHERE l.blocked AND l.line IS NOT NULL AND l.line = wanted.line
    ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
    LIMIT wanted.room
) head

-- name: firsts
-- Steps from line to line, whatever their lengths.
WITH RECURSIVE lines AS (
    (
        SELECT line, 1 AS place
        FROM live_tasks
        WHERE blocked AND line IS NOT NULL AND line > $1
        ORDER BY line
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT l.line
        FROM live_tasks l
        WHERE l.blocked AND l.line IS NOT NULL AND l.line > s.line
        ORDER BY l.line
        LIMIT 1
    ), s.place + 1
    FROM lines s
    WHERE s.line IS NOT NULL AND s.place < $2
)
SELECT head.*
FROM lines s
CROSS JOIN LATERAL (
    SELECT *
    FROM live_tasks l
    WHERE l.blocked AND l.line IS NOT NULL AND l.line = s.line
    ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
    LIMIT 1
) head
ORDER BY head.line

-- name: place
SELECT
    l.line,
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM live_tasks o
            WHERE o.blocked AND o.line IS NOT NULL AND o.line = l.line
              AND (o.precedence, o.run_at, o.created_at, o.task_id)
                  < (l.precedence, l.run_at, l.created_at, l.task_id)
            LIMIT $2
        ) before
    ) AS ahead
FROM live_tasks l
WHERE l.task_id = $1 AND l.blocked AND l.line IS NOT NULL

-- name: starts
-- Taken apart here and not in the leader, whose loop it would hold up: a busy minute has a million changes.
WITH begun AS (
    SELECT DISTINCT c.item ->> 0 AS task_id, (c.item ->> 3)::bigint AS attempt
    FROM changes r
    CROSS JOIN LATERAL ROWS FROM (
        json_array_elements(r.body -> 'changes'), json_array_elements_text(r.body -> 'before')
    ) AS c (item, before)
    WHERE r.committed_at >= now() - $1::double precision * interval '1 second'
      AND c.item ->> 2 = 'scheduled' AND c.before IS DISTINCT FROM 'scheduled'
)
SELECT s.queue, a.task_id, a.attempt, (a.body ->> 'scheduled_at')::timestamptz AS at
FROM begun
CROSS JOIN LATERAL (SELECT queue FROM task_specs o WHERE o.task_id = begun.task_id OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT * FROM attempts o WHERE o.task_id = begun.task_id AND o.attempt = begun.attempt OFFSET 0
) a
WHERE $2::text[] IS NULL OR s.queue = ANY ($2)

-- name: depths
-- A task's queue is looked up by its id, whatever the planner thinks of reading all of them.
WITH waiting AS (
    (
        SELECT task_id, 'ready' AS kind
        FROM live_tasks
        WHERE due AND NOT blocked
        ORDER BY precedence, run_at, created_at, task_id
        LIMIT $1
    )
    UNION ALL
    (SELECT task_id, 'blocked' FROM live_tasks WHERE blocked AND line IS NULL LIMIT $1)
    UNION ALL
    (SELECT task_id, 'lined' FROM live_tasks WHERE blocked AND line IS NOT NULL LIMIT $1)
),
named AS (
    SELECT w.kind, (SELECT s.queue FROM task_specs s WHERE s.task_id = w.task_id) AS queue FROM waiting w
)
SELECT queue, count(*) AS tasks, (sum(count(*)) OVER (PARTITION BY kind))::bigint AS of_kind
FROM named
GROUP BY kind, queue
