-- name: declare
INSERT INTO queues (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING

-- name: save
INSERT INTO queues AS known (name, body, paused) VALUES ($1, $2::json, coalesce($3::boolean, false))
ON CONFLICT (name) DO UPDATE SET body = excluded.body, paused = coalesce($3::boolean, known.paused)
RETURNING xmax = 0 AS is_new

-- name: pause
UPDATE queues SET paused = $2 WHERE name = $1 RETURNING name

-- name: remove
DELETE FROM queues WHERE name = $1 RETURNING name

-- name: known
SELECT name FROM queues WHERE name = ANY ($1::text[])

-- name: get
SELECT name, paused, body FROM queues WHERE name = $1

-- name: find
SELECT name, paused, body FROM queues WHERE name > $1 ORDER BY name LIMIT $2

-- name: policies
SELECT name, paused, body FROM queues WHERE paused OR body IS NOT NULL
