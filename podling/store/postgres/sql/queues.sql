-- name: declare
INSERT INTO queues (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING

-- name: save
INSERT INTO queues (name, body) VALUES ($1, $2::json)
ON CONFLICT (name) DO UPDATE SET body = excluded.body
RETURNING xmax = 0 AS is_new

-- name: pause
UPDATE queues SET paused = $2 WHERE name = $1 RETURNING name

-- name: get
SELECT name, paused, body FROM queues WHERE name = $1

-- name: find
SELECT name, paused, body FROM queues WHERE name > $1 ORDER BY name LIMIT $2

-- name: policies
SELECT name, paused, body FROM queues WHERE paused OR body IS NOT NULL
