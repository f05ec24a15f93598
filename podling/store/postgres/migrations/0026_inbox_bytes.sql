-- How long a body is as text, in which it is read: as it is stored it may be a thousandth of that, for it is
-- compressed, and a number has all of its digits only as text.
ALTER TABLE inbox ADD COLUMN bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(body::text)) STORED;

CREATE OR REPLACE FUNCTION podling_check_spec(spec jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF spec IS NULL OR jsonb_typeof(spec) <> 'object' THEN
        RAISE EXCEPTION 'the task must be a JSON object, not %', coalesce(jsonb_typeof(spec), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give it the body of POST /tasks.';
    END IF;
    IF octet_length(spec::text) > 4194304 THEN
        RAISE EXCEPTION 'the task has more than 4194304 bytes'
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Keep large data elsewhere, and submit where it is.';
    END IF;
END
$$;
