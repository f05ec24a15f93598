-- `podling_end` with what came of the statement: a task's result (JSON as text), which is committed with its end.
-- Without a task it only tells whether this is that cluster's database. The function without a result is the
-- same, for workers that know none.
CREATE FUNCTION podling_end(
    given_cluster text, given_task_id text, given_attempt bigint, given_result text
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    done_at timestamptz := clock_timestamp();
    said jsonb := jsonb_build_object('done_at', done_at);
    node text;
BEGIN
    IF NOT EXISTS (SELECT FROM cluster WHERE cluster_id = given_cluster) THEN
        RETURN false;
    END IF;
    IF given_task_id IS NULL THEN
        RETURN true;
    END IF;
    IF given_result IS NOT NULL THEN
        said := said || jsonb_build_object('result', given_result);
    END IF;
    UPDATE live_tasks l
    SET version = l.version + 1,
        detail = (coalesce(l.detail::jsonb, '{}') || said)::json
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

CREATE OR REPLACE FUNCTION podling_end(
    given_cluster text, given_task_id text, given_attempt bigint
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    RETURN podling_end(given_cluster, given_task_id, given_attempt, NULL);
END
$$;

-- Who was told that they may call the one may call the other.
DO $$
DECLARE
    one text;
    who text;
BEGIN
    REVOKE ALL ON FUNCTION podling_end(text, text, bigint, text) FROM PUBLIC;
    FOREACH one IN ARRAY ARRAY['podling_end(text, text, bigint)', 'podling_end(text, text, bigint, text)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one, current_schema());
    END LOOP;
    FOR who IN
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid = 'podling_end(text, text, bigint)'::regprocedure AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION podling_end(text, text, bigint, text) TO %s', who);
    END LOOP;
END
$$;
