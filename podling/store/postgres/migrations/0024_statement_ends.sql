-- Called by a worker at the end of an SQL task's own transaction, here in Podling's database: the attempt's end
-- is committed with what the statement did, or neither is. From then on the task's row says that it is done
-- (`done_at`), and its version is another one, so that nobody who has not read that can change it; the inbox
-- tells the leader. False, and nothing is done, if this is not that cluster's database.
CREATE FUNCTION podling_end(given_cluster text, given_task_id text, given_attempt bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    done_at timestamptz := clock_timestamp();
    node text;
BEGIN
    IF NOT EXISTS (SELECT FROM cluster WHERE cluster_id = given_cluster) THEN
        RETURN false;
    END IF;
    UPDATE live_tasks l
    SET version = l.version + 1,
        detail = (coalesce(l.detail::jsonb, '{}') || jsonb_build_object('done_at', done_at))::json
    FROM task_specs s
    WHERE l.task_id = given_task_id
      AND l.attempt = given_attempt
      AND l.status IN ('scheduled', 'running')
      AND s.task_id = l.task_id
      AND s.body ->> 'runtime' = 'sql'
    RETURNING l.node_id INTO node;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % of task % is not its live one', given_attempt, given_task_id
            USING ERRCODE = 'PDL01', HINT = 'Another attempt may run, or it was cancelled; this one is rolled back.';
    END IF;
    INSERT INTO inbox (kind, task_id, body)
    VALUES ('end', given_task_id,
            jsonb_build_object('attempt', given_attempt, 'nodeId', node, 'at', done_at));
    PERFORM pg_notify('podling_changes', 'inbox');
    RETURN true;
END
$$;

-- Whoever may call it may end SQL tasks, so nobody may but the owner until told so.
DO $$
BEGIN
    REVOKE ALL ON FUNCTION podling_end(text, text, bigint) FROM PUBLIC;
    EXECUTE format(
        'ALTER FUNCTION podling_end(text, text, bigint) SET search_path = %I, pg_temp', current_schema()
    );
END
$$;
