-- name: claim
-- No row: somebody else was first, and `get` tells what has become of it.
INSERT INTO podling_idempotency AS known (key, expires_at)
VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second')
ON CONFLICT (key) DO UPDATE
SET token = nextval('podling_idempotency_token_seq'), value = NULL, expires_at = excluded.expires_at
WHERE known.expires_at <= clock_timestamp()
RETURNING token

-- name: put
INSERT INTO podling_idempotency AS known (key, value, expires_at)
SELECT $1, $2::text, clock_timestamp() + $3::float8 * interval '1 second'
WHERE $4::bigint IS NULL
   OR EXISTS (SELECT FROM podling_idempotency WHERE key = $1 AND token = $4)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value,
    expires_at = excluded.expires_at,
    token = CASE
        WHEN known.expires_at <= clock_timestamp() THEN nextval('podling_idempotency_token_seq')
        ELSE known.token
    END
WHERE $4 IS NULL
   OR (known.token = $4 AND (known.expires_at IS NULL OR known.expires_at > clock_timestamp()))
RETURNING key

-- name: get
SELECT value, expires_at FROM podling_idempotency
WHERE key = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())

-- name: delete
DELETE FROM podling_idempotency WHERE key = $1
RETURNING expires_at IS NULL OR expires_at > clock_timestamp() AS was_live

-- name: forget
WITH gone AS (
    DELETE FROM podling_idempotency
    WHERE key IN (
        SELECT known.key FROM podling_idempotency known
        WHERE known.expires_at <= clock_timestamp()
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING key
)
SELECT count(*) AS count FROM gone
