-- name: add
INSERT INTO audit (at, body)
SELECT at, body::json
FROM unnest($1::timestamptz[], $2::text[]) WITH ORDINALITY AS new (at, body, position)
ORDER BY position

-- name: find
SELECT number, body
FROM audit
WHERE ($1::text IS NULL OR body ->> 'actor' = $1)
  AND ($2::text IS NULL OR body ->> 'method' = $2)
  AND ($3::text IS NULL OR body ->> 'route' = $3)
  AND ($4::text IS NULL OR body ->> 'outcome' = $4)
  AND at >= coalesce($5::timestamptz, '-infinity')
  AND at < coalesce($6::timestamptz, 'infinity')
  AND (at, number) < (coalesce($7::timestamptz, 'infinity'), coalesce($8::bigint, 0))
ORDER BY at DESC, number DESC
LIMIT $9

-- name: forget_old
DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < $1 ORDER BY at LIMIT $2)

-- name: forget_many
DELETE FROM audit
WHERE number IN (
    SELECT number FROM audit WHERE number <= (SELECT max(number) FROM audit) - $1::bigint LIMIT $2
)
