-- name: changed
SELECT c.tokens_version, t.token_id, t.secret_hash, t.kind, t.name, t.role, t.node_id, t.created_at,
       t.expires_at, t.revoked_at, t.uses, t.joined_by
FROM cluster c
LEFT JOIN tokens t ON t.version > $1
ORDER BY t.version

-- name: next_version
UPDATE cluster SET tokens_version = tokens_version + 1 RETURNING tokens_version

-- name: all
SELECT token_id, secret_hash, kind, name, role, node_id, created_at, expires_at, revoked_at, uses, joined_by
FROM tokens

-- name: put
INSERT INTO tokens (token_id, version, secret_hash, kind, name, role, node_id, created_at, expires_at,
                    revoked_at, uses, joined_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (token_id) DO UPDATE
SET version = excluded.version, secret_hash = excluded.secret_hash, kind = excluded.kind,
    name = excluded.name, role = excluded.role, node_id = excluded.node_id,
    expires_at = excluded.expires_at, revoked_at = excluded.revoked_at, uses = excluded.uses,
    joined_by = excluded.joined_by

-- name: forget_ended
DELETE FROM tokens
WHERE token_id IN (SELECT token_id FROM tokens WHERE revoked_at < $1 OR expires_at < $1 LIMIT $2)
  AND EXISTS (
      SELECT FROM tokens
      WHERE (revoked_at IS NULL OR revoked_at >= $1) AND (expires_at IS NULL OR expires_at >= $1)
  )
