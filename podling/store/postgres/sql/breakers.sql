-- The rules of podling/core/breaker.py, each in one statement: so that no failure gets lost among many.

-- name: seen
SELECT key, failure_count, last_failure_at, last_success_at, opened_at,
       CASE
           WHEN NOT is_open THEN 'closed'
           WHEN half_open_from <= clock_timestamp() THEN 'half_open'
           ELSE 'open'
       END AS state,
       extract(epoch FROM half_open_from - clock_timestamp())::float8 AS cools_seconds,
       extract(epoch FROM greatest(half_open_from, probe_until) - clock_timestamp())::float8 AS wait_seconds
FROM changed

-- name: told
SELECT key, failure_count, last_failure_at, last_success_at, opened_at,
       CASE
           WHEN NOT is_open THEN 'closed'
           WHEN half_open_from <= clock_timestamp() THEN 'half_open'
           ELSE 'open'
       END AS state,
       extract(epoch FROM half_open_from - clock_timestamp())::float8 AS cools_seconds,
       extract(epoch FROM greatest(half_open_from, probe_until) - clock_timestamp())::float8 AS wait_seconds,
       CASE
           WHEN changed_in = txid_current() THEN pg_notify('podling_coordination', 'breaker ' || key)::text
       END
FROM changed

-- name: find
WITH changed AS (SELECT * FROM podling_breakers WHERE key = $1)
-- include: seen

-- name: all
WITH changed AS (SELECT * FROM podling_breakers WHERE key LIKE $1 AND key > $2 ORDER BY key LIMIT $3)
-- include: seen
ORDER BY key

-- name: record_failure
-- An open breaker stays so; a half open one opens again, a closed one when it is enough.
WITH changed AS (
    INSERT INTO podling_breakers AS kept (
        key, is_open, failure_count, cool_down, last_failure_at, opened_at, half_open_from, changed_in
    )
    VALUES (
        $1, $2::bigint <= 1, 1, $3::float8 * interval '1 second', clock_timestamp(),
        CASE WHEN $2 <= 1 THEN clock_timestamp() END,
        CASE WHEN $2 <= 1 THEN clock_timestamp() + $3::float8 * interval '1 second' END,
        CASE WHEN $2 <= 1 THEN txid_current() END
    )
    ON CONFLICT (key) DO UPDATE
    SET failure_count = kept.failure_count + 1,
        last_failure_at = clock_timestamp(),
        is_open = kept.is_open OR kept.failure_count + 1 >= $2,
        cool_down = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.cool_down
            WHEN kept.is_open OR kept.failure_count + 1 >= $2 THEN excluded.cool_down
            ELSE kept.cool_down
        END,
        opened_at = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.opened_at
            WHEN kept.is_open OR kept.failure_count + 1 >= $2 THEN clock_timestamp()
        END,
        half_open_from = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.half_open_from
            WHEN kept.is_open OR kept.failure_count + 1 >= $2
                THEN clock_timestamp() + $3::float8 * interval '1 second'
        END,
        probe_until = NULL,
        changed_in = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.changed_in
            WHEN kept.is_open OR kept.failure_count + 1 >= $2 THEN txid_current()
            ELSE kept.changed_in
        END
    RETURNING *
)
-- include: told

-- name: record_success
-- A success that comes while it is open comes from before.
WITH changed AS (
    INSERT INTO podling_breakers AS kept (key, cool_down, last_success_at)
    VALUES ($1, interval '30 seconds', clock_timestamp())
    ON CONFLICT (key) DO UPDATE
    SET last_success_at = clock_timestamp(),
        is_open = kept.is_open AND kept.half_open_from > clock_timestamp(),
        failure_count = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.failure_count
            ELSE 0
        END,
        opened_at = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.opened_at
        END,
        half_open_from = CASE
            WHEN kept.is_open AND kept.half_open_from > clock_timestamp() THEN kept.half_open_from
        END,
        probe_until = NULL,
        changed_in = CASE
            WHEN kept.is_open AND kept.half_open_from <= clock_timestamp() THEN txid_current()
            ELSE kept.changed_in
        END
    RETURNING *
)
-- include: told

-- name: put
WITH changed AS (
    INSERT INTO podling_breakers AS kept (key, is_open, cool_down, opened_at, half_open_from, changed_in)
    VALUES (
        $1,
        $2::text <> 'closed',
        $3::float8 * interval '1 second',
        CASE WHEN $2 <> 'closed' THEN clock_timestamp() END,
        CASE
            WHEN $2 = 'open' THEN clock_timestamp() + $3::float8 * interval '1 second'
            WHEN $2 = 'half_open' THEN clock_timestamp()
        END,
        txid_current()
    )
    ON CONFLICT (key) DO UPDATE
    SET is_open = excluded.is_open,
        cool_down = excluded.cool_down,
        opened_at = excluded.opened_at,
        half_open_from = excluded.half_open_from,
        probe_until = NULL,
        changed_in = txid_current(),
        failure_count = CASE WHEN excluded.is_open THEN kept.failure_count ELSE 0 END
    RETURNING *
)
-- include: told

-- name: probe
-- Of all that ask while it is half open, the first gets the place.
WITH changed AS (
    UPDATE podling_breakers SET probe_until = clock_timestamp() + cool_down
    WHERE key = $1 AND is_open AND half_open_from <= clock_timestamp()
      AND (probe_until IS NULL OR probe_until <= clock_timestamp())
    RETURNING *
)
-- include: told

-- name: forget
WITH gone AS (
    DELETE FROM podling_breakers
    WHERE key IN (
        SELECT kept.key FROM podling_breakers kept
        WHERE greatest(kept.last_failure_at, kept.last_success_at, kept.opened_at, kept.half_open_from)
              IS NULL
           OR greatest(kept.last_failure_at, kept.last_success_at, kept.opened_at, kept.half_open_from)
              < clock_timestamp() - $2::interval
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING key
)
SELECT count(*) AS count FROM gone
