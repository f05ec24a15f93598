-- name: save_rule
INSERT INTO alert_rules (name, body) VALUES ($1, $2::json)
ON CONFLICT (name) DO UPDATE SET body = excluded.body
RETURNING xmax = 0 AS is_new

-- name: remove_rule
DELETE FROM alert_rules WHERE name = $1 RETURNING name

-- name: rules
SELECT body FROM alert_rules ORDER BY name

-- name: standings
SELECT r.name, r.last_at, r.last_error, coalesce(waiting.pending, 0) AS pending
FROM alert_rules r
LEFT JOIN (SELECT line, count(*) AS pending FROM alerts GROUP BY line) AS waiting ON waiting.line = r.name

-- name: insert
INSERT INTO alerts (alert_id, line, due_at, body)
SELECT alert_id, line, due_at, body
FROM json_to_recordset($1::json) AS new (alert_id text, line text, due_at timestamptz, body json)
ON CONFLICT (alert_id) DO NOTHING

-- name: due
SELECT body, tries FROM alerts
WHERE due_at <= $1 AND line <> ALL ($3::text[])
ORDER BY due_at, alert_id
LIMIT $2

-- name: settle
-- What is not there any more was settled before, and says nothing a second time.
WITH told AS (
    SELECT * FROM json_to_recordset($1::json) AS given (
        alert_id text, rule text, at timestamptz, due_at timestamptz, error text,
        task_id text, type text, event json
    )
),
put_off AS (
    UPDATE alerts a SET due_at = told.due_at, tries = a.tries + 1
    FROM told
    WHERE a.alert_id = told.alert_id AND told.due_at IS NOT NULL
    RETURNING a.alert_id
),
taken_off AS (
    DELETE FROM alerts a
    USING told
    WHERE a.alert_id = told.alert_id AND told.due_at IS NULL
    RETURNING a.alert_id
),
settled AS (
    SELECT told.* FROM told
    WHERE alert_id IN (SELECT alert_id FROM put_off UNION ALL SELECT alert_id FROM taken_off)
),
noted AS (
    INSERT INTO task_events (task_id, type, body)
    SELECT settled.task_id, settled.type, settled.event
    FROM settled
    WHERE EXISTS (SELECT FROM task_specs s WHERE s.task_id = settled.task_id)
)
UPDATE alert_rules r SET last_at = last.at, last_error = last.error
FROM (SELECT DISTINCT ON (rule) rule, at, error FROM settled ORDER BY rule, at DESC) AS last
WHERE r.name = last.rule
