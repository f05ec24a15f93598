-- name: situation
SELECT current_setting('server_version_num')::integer AS server_version,
       current_setting('server_version') AS server_name,
       current_user AS login,
       current_database() AS database,
       current_schema() AS schema,
       -- Not to_regclass: within a transaction it repeats what it has found before.
       EXISTS (
           SELECT FROM pg_class
           WHERE relname = 'podling_migrations' AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)
       ) AS is_ours,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create_table

-- name: lock
SELECT pg_advisory_xact_lock(hashtextextended('podling migrations', 0))

-- name: applied
SELECT version, name, checksum FROM podling_migrations ORDER BY version

-- name: foreign_tables
SELECT relation.relname AS name,
       namespace.nspname AS schema,
       array_agg(attribute.attname::text) AS columns
FROM pg_class relation
JOIN pg_namespace namespace ON namespace.oid = relation.relnamespace
JOIN pg_attribute attribute ON attribute.attrelid = relation.oid AND attribute.attnum > 0
WHERE relation.relname IN ('tasks', 'nodes')
  AND relation.relkind IN ('r', 'p', 'v', 'm')
  AND namespace.nspname = $1
GROUP BY relation.relname, namespace.nspname

-- name: make_table
CREATE TABLE podling_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: record
INSERT INTO podling_migrations (version, name, checksum) VALUES ($1, $2, $3)

-- name: set_cluster
INSERT INTO cluster (cluster_id) VALUES ($1) ON CONFLICT DO NOTHING

-- name: missing_relations
SELECT name
FROM unnest($1::text[]) AS name
WHERE to_regclass(name) IS NULL
ORDER BY name

-- name: missing_functions
SELECT signature
FROM unnest($1::text[]) AS signature
WHERE to_regprocedure(signature) IS NULL
ORDER BY signature

-- name: invalid_indexes
SELECT indexrelid::regclass::text AS name
FROM pg_index
WHERE NOT indisvalid AND indrelid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
ORDER BY 1
