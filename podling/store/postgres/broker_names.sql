-- The names of pgsql-broker, for programs that call them: `podling db install --broker-names`, or this file by
-- `psql -f`, after the schema. Each does what it can mean here, or says what takes its place; see
-- docs/coming-from-pgsql-broker.md. Harmless to repeat.

-- Leaves a SQL task in the caller's transaction and returns its id. `run_as` is the name of a database that a
-- worker was given (--database NAME=URL), with the login of that address; without one it is the home database.
CREATE OR REPLACE FUNCTION broker_add_job(
    job_name text,
    execute_str text,
    job_queue integer DEFAULT 1,
    job_priority integer DEFAULT 0,
    job_language text DEFAULT 'sql',
    run_as text DEFAULT NULL,
    user_login text DEFAULT NULL,
    schedule_id text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    statement text;
    caller text := coalesce(user_login, nullif(current_setting('podling.user', true), ''), session_user);
BEGIN
    CASE lower(job_language)
        WHEN 'sql' THEN statement := execute_str;
        WHEN 'plpgsql' THEN statement := 'DO LANGUAGE plpgsql ' || quote_literal(execute_str);
        ELSE
            RAISE EXCEPTION 'jobs in the language % cannot be run here; it is sql or plpgsql',
                coalesce(quote_literal(job_language), 'NULL')
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'podling_submit takes programs, containers and functions: see docs/api.md.';
    END CASE;
    RETURN podling_submit(
        jsonb_strip_nulls(
            jsonb_build_object(
                'name', job_name,
                'runtime', 'sql',
                'statement', statement,
                'queue', job_queue::text,
                'priority', job_priority,
                'database', run_as,
                'labels', jsonb_build_object('user-login', caller, 'run-as', run_as, 'schedule-id', schedule_id)
            )
        )
    );
END
$$;

-- The id of the task of that queue that would start next, NULL if none is due. It stays where it is: who asks is
-- given nothing to do, since the leader gives tasks to workers.
CREATE OR REPLACE FUNCTION broker_get(job_queue integer DEFAULT 1) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT l.task_id
    FROM live_tasks l
    JOIN task_specs s ON s.task_id = l.task_id
    WHERE l.status = 'pending' AND l.due AND NOT l.blocked AND s.queue = job_queue::text
    ORDER BY l.precedence, l.run_at, l.created_at, l.task_id
    LIMIT 1
$$;

-- What is said in this session of the jobs that follow: `user`, the login that is kept with them.
CREATE OR REPLACE FUNCTION broker_set(option_name text, option_value text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE lower(option_name)
        WHEN 'user' THEN PERFORM set_config('podling.user', coalesce(option_value, ''), false);
        WHEN 'application_name' THEN PERFORM set_config('application_name', coalesce(option_value, ''), false);
        ELSE
            RAISE EXCEPTION 'there is no option % here; it is user or application_name',
                coalesce(quote_literal(option_name), 'NULL')
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'What holds for a queue is set by podling queue set.';
    END CASE;
END
$$;

CREATE OR REPLACE FUNCTION broker_run(task_id text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a program cannot run a job by itself here: the leader gives each to a worker, once'
        USING ERRCODE = 'feature_not_supported', HINT = 'Start podling-worker --runtime sql; podling_status tells.';
END
$$;

CREATE OR REPLACE FUNCTION broker_register_instance(
    name text DEFAULT NULL,
    hostname text DEFAULT NULL,
    pid integer DEFAULT NULL,
    version text DEFAULT NULL,
    queue_count integer DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'instances register themselves here, when podling-master and podling-worker start'
        USING ERRCODE = 'feature_not_supported', HINT = 'SELECT * FROM masters; SELECT * FROM nodes;';
END
$$;

CREATE OR REPLACE FUNCTION broker_ping_instance(instance_id bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'instances beat by themselves here, and who is silent for a lease is taken for lost'
        USING ERRCODE = 'feature_not_supported', HINT = 'podling nodes and podling masters show who is alive.';
END
$$;

CREATE OR REPLACE FUNCTION broker_shutdown_instance(instance_id bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'instances are not ended by SQL here'
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Send the program SIGTERM, or empty a worker by podling node drain.';
END
$$;

-- As with the schema's own functions: nobody but the owner until told so.
DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY[
        'broker_add_job(text, text, integer, integer, text, text, text, text)', 'broker_get(integer)'
    ]::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END
$$;
