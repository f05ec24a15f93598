-- What programs may call, in transactions of their own. They act as the owner of the tables, so that a login
-- needs nothing but the right to execute them, and say who called in the inbox (`sender`).

-- A UUID of version 7: milliseconds, twelve bits of what is beyond them, then random bits. Ids that one
-- session makes are in their order.
CREATE FUNCTION podling_new_id() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    moment text := lpad(to_hex(micros / 1000), 12, '0');
    beyond text := lpad(to_hex(micros % 1000 * 4), 3, '0');
    drawn text := md5(random()::text || random()::text || pg_backend_pid()::text);
BEGIN
    RETURN left(moment, 8) || '-' || right(moment, 4) || '-7' || beyond || '-8' || substr(drawn, 1, 3)
        || '-' || substr(drawn, 4, 12);
END
$$;

CREATE FUNCTION podling_time(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- What can be told at once; the rest is the door's, which asks when the leader takes the task in.
CREATE FUNCTION podling_check_spec(spec jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF spec IS NULL OR jsonb_typeof(spec) <> 'object' THEN
        RAISE EXCEPTION 'the task must be a JSON object, not %', coalesce(jsonb_typeof(spec), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give it the body of POST /tasks.';
    END IF;
    IF pg_column_size(spec) > 4194304 THEN
        RAISE EXCEPTION 'the task has more than 4194304 bytes'
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Keep large data elsewhere, and submit where it is.';
    END IF;
END
$$;

-- The task that has the key from now on: this one, or an earlier one of the same content.
CREATE FUNCTION podling_claim_key(given_key text, given_task_id text, spec jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    given_digest bytea := sha256(convert_to(spec::text, 'UTF8'));
    first inbox_keys;
BEGIN
    LOOP
        INSERT INTO inbox_keys (key, task_id, digest) VALUES (given_key, given_task_id, given_digest)
        ON CONFLICT (key) DO NOTHING;
        IF FOUND THEN
            RETURN given_task_id;
        END IF;
        SELECT * INTO first FROM inbox_keys WHERE key = given_key;
        IF FOUND THEN
            EXIT;
        END IF;
    END LOOP;
    IF first.digest <> given_digest THEN
        RAISE EXCEPTION 'the idempotency key % was used for another task', quote_literal(given_key)
            USING DETAIL = format('It belongs to task %s.', first.task_id),
                  ERRCODE = 'unique_violation',
                  HINT = 'Use a new key, or send the same task.';
    END IF;
    RETURN first.task_id;
END
$$;

-- Leaves a task for the leader, and returns its id. There is none before the caller has committed, and what
-- the door refuses then ends as a failed task that says why.
CREATE FUNCTION podling_submit(spec jsonb) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    new_id text := podling_new_id();
    first_id text;
BEGIN
    PERFORM podling_check_spec(spec);
    IF jsonb_typeof(spec -> 'idempotencyKey') = 'string' AND length(spec ->> 'idempotencyKey') <= 255 THEN
        first_id := podling_claim_key(spec ->> 'idempotencyKey', new_id, spec);
        IF first_id <> new_id THEN
            RETURN first_id;
        END IF;
    END IF;
    INSERT INTO inbox (kind, task_id, body) VALUES ('submit', new_id, spec);
    PERFORM pg_notify('podling_changes', 'inbox');
    RETURN new_id;
END
$$;

-- The same for many at once, as a JSON array; returns their ids in its order.
CREATE FUNCTION podling_submit_many(specs jsonb) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF specs IS NULL OR jsonb_typeof(specs) <> 'array' THEN
        RAISE EXCEPTION 'the tasks must be a JSON array, not %', coalesce(jsonb_typeof(specs), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'podling_submit takes a single task.';
    END IF;
    IF EXISTS (
        SELECT FROM jsonb_array_elements(specs) AS given (spec)
        WHERE jsonb_typeof(spec -> 'idempotencyKey') = 'string'
    ) THEN
        RETURN QUERY SELECT podling_submit(spec) FROM jsonb_array_elements(specs) AS given (spec);
        RETURN;
    END IF;
    PERFORM podling_check_spec(spec) FROM jsonb_array_elements(specs) AS given (spec);
    RETURN QUERY
    INSERT INTO inbox (kind, task_id, body)
    SELECT 'submit', podling_new_id(), spec
    FROM jsonb_array_elements(specs) WITH ORDINALITY AS given (spec, place)
    ORDER BY place
    RETURNING inbox.task_id;
    IF FOUND THEN
        PERFORM pg_notify('podling_changes', 'inbox');
    END IF;
END
$$;

-- Leaves a cancel for the leader. What is cancelled already stays so.
CREATE FUNCTION podling_cancel(task_id text) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found_status text;
BEGIN
    SELECT coalesce(
        (SELECT 'waiting' FROM inbox i WHERE i.task_id = $1 AND i.kind = 'submit' LIMIT 1),
        (SELECT l.status FROM live_tasks l WHERE l.task_id = $1),
        (SELECT e.status FROM ended_tasks e WHERE e.task_id = $1 LIMIT 1)
    ) INTO found_status;
    IF found_status IS NULL THEN
        RAISE EXCEPTION 'task not found: %', coalesce($1, 'NULL')
            USING ERRCODE = 'no_data_found', HINT = 'It takes the id that podling_submit returned.';
    ELSIF found_status IN ('completed', 'failed') THEN
        RAISE EXCEPTION 'task % cannot be cancelled: it is % and has ended', $1, found_status
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF found_status <> 'cancelled' THEN
        INSERT INTO inbox (kind, task_id, body) VALUES ('cancel', $1, '{}');
        PERFORM pg_notify('podling_changes', 'inbox');
    END IF;
END
$$;

-- What the task is now, under the names of the REST API; NULL if there is none. One that the leader has not
-- taken in yet is pending, and not `admitted`.
CREATE FUNCTION podling_status(task_id text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT jsonb_build_object(
        'taskId', found.task_id,
        'name', s.name,
        'queue', s.queue,
        'status', found.status,
        'admitted', true,
        'attempt', found.attempt,
        'nodeId', found.node_id,
        'createdAt', podling_time(found.created_at),
        'runAt', podling_time(found.run_at),
        'startedAt', podling_time(found.started_at),
        'finishedAt', podling_time(found.finished_at),
        'exitCode', found.exit_code,
        'errorCode', found.error_code,
        'error', found.detail ->> 'error',
        'deadLetterReason', found.detail ->> 'dead_letter_reason'
    )
    FROM (
        SELECT l.task_id, l.status, l.attempt, l.node_id, l.created_at, l.run_at, l.started_at, l.finished_at,
               l.exit_code, l.error_code, l.detail
        FROM live_tasks l
        WHERE l.task_id = $1
        UNION ALL
        SELECT e.task_id, e.status, e.attempt, e.node_id, e.created_at, e.run_at, e.started_at, e.finished_at,
               e.exit_code, e.error_code, e.detail
        FROM ended_tasks e
        WHERE e.task_id = $1
    ) AS found
    JOIN task_specs s ON s.task_id = found.task_id
    UNION ALL
    SELECT jsonb_build_object(
        'taskId', i.task_id,
        'name', i.body -> 'name',
        'queue', coalesce(i.body ->> 'queue', 'default'),
        'status', 'pending',
        'admitted', false,
        'attempt', 0,
        'createdAt', podling_time(i.received_at),
        'runAt', coalesce(i.body ->> 'runAt', podling_time(i.received_at))
    )
    FROM inbox i
    WHERE i.task_id = $1 AND i.kind = 'submit'
    LIMIT 1
$$;

-- Nobody but the owner calls them until told so; and what they name is found here, whoever calls.
DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY[
        'podling_submit(jsonb)', 'podling_submit_many(jsonb)', 'podling_cancel(text)', 'podling_status(text)',
        'podling_new_id()', 'podling_time(timestamptz)', 'podling_check_spec(jsonb)',
        'podling_claim_key(text, text, jsonb)'
    ]::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    FOREACH made IN ARRAY ARRAY[
        'podling_submit(jsonb)', 'podling_submit_many(jsonb)', 'podling_cancel(text)', 'podling_status(text)'
    ]::regprocedure[]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END
$$;
