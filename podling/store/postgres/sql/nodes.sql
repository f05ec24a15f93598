-- name: open_session
-- One statement, and so one round trip: thousands connect at once when a master has gone.
WITH opened AS (
    INSERT INTO node_records (node_id, status, session_no, registered_at, body, cordoned, drain)
    VALUES ($1, 'online', 1, $2, $3, $4, $5)
    ON CONFLICT (node_id) DO UPDATE
    SET status = excluded.status,
        session_no = node_records.session_no + 1,
        registered_at = excluded.registered_at,
        body = excluded.body
    RETURNING node_id, session_no
),
beating AS (
    INSERT INTO node_beats (node_id, session_no, counter, at, lost)
    SELECT node_id, session_no, 0, $6, false FROM opened
    ON CONFLICT (node_id) DO UPDATE
    SET session_no = excluded.session_no, counter = node_beats.counter + 1, at = excluded.at, lost = false
)
SELECT session_no FROM opened

-- name: start_beats
INSERT INTO node_beats (node_id, session_no, counter, at, lost)
VALUES ($1, $2, 0, $3, false)
ON CONFLICT (node_id) DO UPDATE
SET session_no = excluded.session_no, counter = node_beats.counter + 1, at = excluded.at, lost = false

-- name: save
INSERT INTO node_records (node_id, status, session_no, registered_at, body, cordoned, drain)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (node_id) DO UPDATE
SET status = excluded.status,
    session_no = excluded.session_no,
    registered_at = excluded.registered_at,
    body = excluded.body
WHERE $8::bigint IS NULL OR node_records.session_no = $8
RETURNING node_id

-- name: session_no
SELECT session_no FROM node_records WHERE node_id = $1 FOR UPDATE

-- name: save_heartbeat
INSERT INTO node_beats (node_id, session_no, counter, at)
VALUES ($1, $2, 0, $3)
ON CONFLICT (node_id) DO UPDATE
SET session_no = excluded.session_no, at = greatest(node_beats.at, excluded.at)

-- name: set_service
WITH changed AS (
    UPDATE node_records SET cordoned = $2, drain = $3 WHERE node_id = $1
    RETURNING node_id, body, status, session_no, cordoned, drain
)
SELECT n.body, n.status, n.session_no, n.cordoned, n.drain, b.at
FROM changed n
JOIN node_beats b ON b.node_id = n.node_id

-- name: load
SELECT n.body, n.status, n.session_no, n.cordoned, n.drain, b.at
FROM node_records n
JOIN node_beats b ON b.node_id = n.node_id
WHERE $1::text IS NULL OR n.status = $1
ORDER BY n.registered_at DESC, n.node_id DESC

-- name: load_some
SELECT n.body, n.status, n.session_no, n.cordoned, n.drain, b.at
FROM unnest($2::text[]) AS wanted (node_id)
JOIN node_records n ON n.node_id = wanted.node_id
JOIN node_beats b ON b.node_id = n.node_id
WHERE $1::text IS NULL OR n.status = $1
ORDER BY n.registered_at DESC, n.node_id DESC

-- name: versions
-- xmin is the transaction that wrote the row as it is.
SELECT node_id, xmin FROM node_records

-- name: load_one
SELECT n.body, n.status, n.session_no, n.cordoned, n.drain, b.at
FROM node_records n
JOIN node_beats b ON b.node_id = n.node_id
WHERE n.node_id = $1

-- name: remove
DELETE FROM node_records WHERE node_id = $1 RETURNING node_id

-- name: remove_beats
DELETE FROM node_beats WHERE node_id = $1

-- name: beat
WITH counted AS (
    SELECT b.node_id
    FROM node_beats b
    JOIN unnest($1::text[], $2::bigint[]) AS session (node_id, session_no)
      ON session.node_id = b.node_id AND session.session_no = b.session_no
    WHERE NOT b.lost
    ORDER BY b.node_id
    FOR UPDATE OF b
)
UPDATE node_beats b SET counter = b.counter + 1, at = $3
FROM counted
WHERE b.node_id = counted.node_id
RETURNING b.node_id

-- name: beats
SELECT node_id, session_no, counter, at, lost FROM node_beats ORDER BY node_id

-- name: mark_lost
UPDATE node_beats SET lost = true
WHERE node_id = $1 AND counter = $2 AND NOT lost
RETURNING node_id
