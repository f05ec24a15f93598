-- name: save
INSERT INTO log_tails (task_id, attempt, frames, dropped_bytes, final)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::boolean[])
ON CONFLICT (task_id, attempt) DO UPDATE
SET frames = excluded.frames, dropped_bytes = excluded.dropped_bytes, final = excluded.final

-- name: load
SELECT task_id, attempt, frames, dropped_bytes, final FROM log_tails WHERE task_id = $1 AND attempt = $2
