-- name: take
-- One row a queue, which also remembers what it granted last: RETURNING knows no earlier state.
INSERT INTO submit_counts AS known (queue, minute, taken, granted)
VALUES (
    $1, date_trunc('minute', clock_timestamp()), least($2::bigint, $3::bigint), least($2::bigint, $3::bigint)
)
ON CONFLICT (queue) DO UPDATE
SET minute = excluded.minute,
    taken = CASE WHEN known.minute = excluded.minute THEN known.taken ELSE 0 END
        + greatest(0, least($2, $3 - CASE WHEN known.minute = excluded.minute THEN known.taken ELSE 0 END)),
    granted = greatest(0, least($2, $3 - CASE WHEN known.minute = excluded.minute THEN known.taken ELSE 0 END))
RETURNING granted, extract(epoch FROM minute + interval '1 minute' - clock_timestamp())::float8 AS seconds_left
