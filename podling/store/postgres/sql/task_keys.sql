-- name: offer
INSERT INTO task_keys (only_row, key) VALUES (true, $1) ON CONFLICT (only_row) DO NOTHING

-- name: read
SELECT key FROM task_keys
