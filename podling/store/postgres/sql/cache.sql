-- name: get
SELECT value FROM podling_cache
WHERE key = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())

-- name: put
-- What has run out goes first, so that whoever inserts a row, and nobody else, is told that it is new.
WITH gone AS (
    DELETE FROM podling_cache WHERE key = $1 AND expires_at <= clock_timestamp() RETURNING key
)
INSERT INTO podling_cache (key, value, expires_at)
SELECT $1, $2, clock_timestamp() + $3::float8 * interval '1 second'
FROM (SELECT count(*) FROM gone) cleared
WHERE cleared.count >= 0
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
RETURNING xmax = 0 AS is_new

-- name: delete
DELETE FROM podling_cache WHERE key = $1
RETURNING expires_at IS NULL OR expires_at > clock_timestamp() AS was_live

-- name: clear
WITH gone AS (DELETE FROM podling_cache WHERE key LIKE $1 RETURNING expires_at)
SELECT count(*) FILTER (WHERE expires_at IS NULL OR expires_at > clock_timestamp()) AS count FROM gone

-- name: keys
SELECT key FROM podling_cache
WHERE key LIKE $1 AND key > $2 AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY key
LIMIT $3

-- name: size
SELECT count(*) AS count FROM podling_cache
WHERE key LIKE $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())

-- name: prune
WITH gone AS (
    DELETE FROM podling_cache
    WHERE key IN (
        SELECT entry.key FROM podling_cache entry
        WHERE entry.key LIKE $1 AND entry.expires_at <= clock_timestamp()
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING key
)
SELECT count(*) AS count FROM gone
