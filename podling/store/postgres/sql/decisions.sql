-- name: record
INSERT INTO decisions (decision_id, at, first_at, count, code, task_id, actor, door, message, details)
SELECT given.decision_id, given.at, given.first_at, given.count, given.code, given.task_id, given.actor,
       given.door, given.message, given.details
FROM json_to_recordset($1::json) AS given (
    decision_id text, at timestamptz, first_at timestamptz, count bigint, code text, task_id text,
    actor text, door text, message text, details json
)
ORDER BY given.decision_id
ON CONFLICT (decision_id) DO UPDATE
SET count = decisions.count + excluded.count,
    first_at = least(decisions.first_at, excluded.first_at),
    at = greatest(decisions.at, excluded.at),
    message = CASE WHEN excluded.at >= decisions.at THEN excluded.message ELSE decisions.message END,
    details = CASE WHEN excluded.at >= decisions.at THEN excluded.details ELSE decisions.details END

-- name: find
SELECT decision_id, at, first_at, count, code, task_id, actor, door, message, details
FROM decisions
WHERE ($1::text IS NULL OR task_id = $1)
  AND ($2::text IS NULL OR code = $2)
  AND (NOT $3::boolean OR door IS NOT NULL)
  AND ($4::timestamptz IS NULL OR (at, decision_id) < ($4, $5::text))
ORDER BY at DESC, decision_id DESC
LIMIT $6

-- name: prune_old
-- What was decided again meanwhile stays.
DELETE FROM decisions
WHERE at < $1
  AND decision_id IN (SELECT decision_id FROM decisions WHERE at < $1 ORDER BY at, decision_id LIMIT $2)

-- name: prune_many
DELETE FROM decisions
WHERE decision_id IN (
    SELECT decision_id FROM decisions ORDER BY at DESC, decision_id DESC OFFSET $1 LIMIT $2
)
