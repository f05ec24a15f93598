-- name: begin
-- The schema of Podling, for psql: all of it, or what a database lacks. `psql -f FILE` as the login of the
-- masters. All of it is done, or nothing.
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock(hashtextextended('podling migrations', 0)) \g /dev/null
SELECT format('CREATE SCHEMA IF NOT EXISTS %I', current_user)
WHERE NOT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) \gexec
CREATE FUNCTION pg_temp.refuse(reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', reason;
END
$$;
CREATE TABLE IF NOT EXISTS podling_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
SELECT pg_temp.refuse('the schema has version ' || max(version) || ', which is newer than this script')
FROM podling_migrations
HAVING max(version) > :newest \g /dev/null

-- name: is_missing
SELECT pg_temp.refuse('migration ' || version || ' was applied with another content than this script has')
FROM podling_migrations
WHERE version = :version AND checksum <> :'checksum' \g /dev/null
SELECT NOT EXISTS (SELECT FROM podling_migrations WHERE version = :version) AS is_missing \gset
\if :is_missing
\echo applying :version :name

-- name: applied
INSERT INTO podling_migrations (version, name, checksum) VALUES (:version, :'name', :'checksum');
\endif

-- name: partitions
SELECT format(
    'CREATE TABLE %I PARTITION OF ended_tasks FOR VALUES FROM (%L) TO (%L)', name, first || '+00', next || '+00'
)
FROM (

-- name: finish
) AS months \gexec
INSERT INTO cluster (cluster_id) VALUES (substr(md5(random()::text || clock_timestamp()::text), 1, 8))
ON CONFLICT DO NOTHING;
COMMIT;
\echo the schema is complete
