-- name: acquire
-- The token is drawn under the row's lock: drawn before, a later one could be given first.
INSERT INTO podling_locks AS held (key, owner, acquired_at, expires_at)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3::float8 * interval '1 second')
ON CONFLICT (key) DO UPDATE
SET owner = excluded.owner,
    token = nextval('podling_locks_token_seq'),
    acquired_at = clock_timestamp(),
    expires_at = clock_timestamp() + $3::float8 * interval '1 second'
WHERE CASE
    WHEN held.owner IS NULL OR held.expires_at <= clock_timestamp() THEN NOT EXISTS (
        SELECT FROM podling_lock_waiters waiter
        WHERE waiter.key = $1 AND waiter.alive_until > clock_timestamp()
    )
    ELSE held.owner = excluded.owner
END
RETURNING key, owner, token, acquired_at, expires_at

-- name: enter
INSERT INTO podling_lock_waiters (key, alive_until)
VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second')
RETURNING ticket

-- name: claim
-- Whoever is the first in line that lives takes the lock and leaves the line; else it is told how long the
-- lock lives as far as is known.
WITH mine AS (
    SELECT NOT EXISTS (
        SELECT FROM podling_lock_waiters ahead
        WHERE ahead.key = $1 AND ahead.ticket < $4 AND ahead.alive_until > clock_timestamp()
    ) AS is_first
    FROM podling_lock_waiters
    WHERE ticket = $4
),
taken AS (
    INSERT INTO podling_locks AS held (key, owner, acquired_at, expires_at)
    SELECT $1, $2::text, clock_timestamp(), clock_timestamp() + $3::float8 * interval '1 second'
    FROM mine
    WHERE is_first
    ON CONFLICT (key) DO UPDATE
    SET owner = excluded.owner,
        token = nextval('podling_locks_token_seq'),
        acquired_at = clock_timestamp(),
        expires_at = clock_timestamp() + $3::float8 * interval '1 second'
    WHERE held.owner IS NULL OR held.expires_at <= clock_timestamp() OR held.owner = excluded.owner
    RETURNING key, owner, token, acquired_at, expires_at
),
gone AS (
    DELETE FROM podling_lock_waiters WHERE ticket = $4 AND EXISTS (SELECT FROM taken)
)
SELECT taken.*,
       mine.is_first,
       (
           SELECT extract(epoch FROM held.expires_at - clock_timestamp())::float8
           FROM podling_locks held
           WHERE held.key = $1 AND held.owner IS NOT NULL
       ) AS seconds_left
FROM (SELECT) AS always
LEFT JOIN mine ON true
LEFT JOIN taken ON true

-- name: renew
-- Prolong these places, and tell which of them are first in line for how long a lock still (null: none).
WITH renewed AS (
    UPDATE podling_lock_waiters SET alive_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE ticket = ANY ($1::bigint[])
    RETURNING key, ticket
)
SELECT renewed.ticket,
       NOT EXISTS (
           SELECT FROM podling_lock_waiters ahead
           WHERE ahead.key = renewed.key AND ahead.ticket < renewed.ticket
             AND ahead.alive_until > clock_timestamp()
       ) AS is_first,
       extract(epoch FROM held.expires_at - clock_timestamp())::float8 AS seconds_left
FROM renewed
LEFT JOIN podling_locks held ON held.key = renewed.key AND held.owner IS NOT NULL

-- name: leave
-- If it was this one's turn, it is the next one's now.
WITH gone AS (
    DELETE FROM podling_lock_waiters WHERE ticket = $1 RETURNING key
)
SELECT (
    SELECT pg_notify('podling_coordination', 'lock ' || waiter.ticket)
    FROM podling_lock_waiters waiter
    WHERE waiter.key = gone.key AND waiter.ticket <> $1 AND waiter.alive_until > clock_timestamp()
    ORDER BY waiter.ticket
    LIMIT 1
)::text
FROM gone

-- name: release
WITH freed AS (
    UPDATE podling_locks SET owner = NULL, expires_at = clock_timestamp()
    WHERE key = $1 AND token = $2 AND owner IS NOT NULL AND expires_at > clock_timestamp()
    RETURNING key
)
SELECT (
    SELECT pg_notify('podling_coordination', 'lock ' || waiter.ticket)
    FROM podling_lock_waiters waiter
    WHERE waiter.key = freed.key AND waiter.alive_until > clock_timestamp()
    ORDER BY waiter.ticket
    LIMIT 1
)::text
FROM freed

-- name: force_release
WITH freed AS (
    UPDATE podling_locks SET owner = NULL, expires_at = clock_timestamp()
    WHERE key = $1 AND owner IS NOT NULL AND expires_at > clock_timestamp()
    RETURNING key
)
SELECT (
    SELECT pg_notify('podling_coordination', 'lock ' || waiter.ticket)
    FROM podling_lock_waiters waiter
    WHERE waiter.key = freed.key AND waiter.alive_until > clock_timestamp()
    ORDER BY waiter.ticket
    LIMIT 1
)::text
FROM freed

-- name: extend
UPDATE podling_locks SET expires_at = clock_timestamp() + $2::float8 * interval '1 second'
WHERE key = $1 AND owner IS NOT NULL AND expires_at > clock_timestamp()
  AND ($3::text IS NULL OR owner = $3) AND ($4::bigint IS NULL OR token = $4)
RETURNING key, owner, token, acquired_at, expires_at

-- name: find
SELECT key, owner, token, acquired_at, expires_at FROM podling_locks
WHERE key = $1 AND owner IS NOT NULL AND expires_at > clock_timestamp()

-- name: holders
SELECT key, owner, token, acquired_at, expires_at FROM podling_locks
WHERE key LIKE $1 AND key > $2 AND owner IS NOT NULL AND expires_at > clock_timestamp()
ORDER BY key
LIMIT $3

-- name: forget_locks
-- Long after, so that no acquire which drew its token before can still be on its way.
WITH gone AS (
    DELETE FROM podling_locks
    WHERE key IN (
        SELECT held.key FROM podling_locks held
        WHERE held.expires_at < clock_timestamp() - interval '1 day'
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING key
)
SELECT count(*) AS count FROM gone

-- name: forget_waiters
WITH gone AS (
    DELETE FROM podling_lock_waiters
    WHERE ticket IN (
        SELECT waiter.ticket FROM podling_lock_waiters waiter
        WHERE waiter.alive_until < clock_timestamp() - interval '1 minute'
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING ticket
)
SELECT count(*) AS count FROM gone
