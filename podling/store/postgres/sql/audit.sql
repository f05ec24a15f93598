-- name: add
INSERT INTO audit (at, body)
SELECT at, body::json
FROM unnest($1::timestamptz[], $2::text[]) WITH ORDINALITY AS new (at, body, position)
ORDER BY position

-- name: page
SELECT number, body FROM audit WHERE $2::bigint IS NULL OR number < $2 ORDER BY number DESC LIMIT $1

-- name: forget_old
DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < $1 ORDER BY at LIMIT $2)

-- name: forget_many
DELETE FROM audit
WHERE number IN (
    SELECT number FROM audit WHERE number <= (SELECT max(number) FROM audit) - $1::bigint LIMIT $2
)
