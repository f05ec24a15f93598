-- name: cluster_id
SELECT cluster_id FROM cluster

-- name: register
INSERT INTO masters (master_id, advertise_url, version, counter, identity, lease_seconds)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (master_id) DO UPDATE
SET advertise_url = excluded.advertise_url, version = excluded.version, counter = excluded.counter,
    identity = excluded.identity, lease_seconds = excluded.lease_seconds

-- name: beat
UPDATE masters SET counter = counter + 1 WHERE master_id = $1

-- name: list
SELECT master_id, advertise_url, version, counter, identity, lease_seconds
FROM masters
ORDER BY registered_at, master_id

-- name: remove
WITH left_behind AS (DELETE FROM peer_messages WHERE recipient = $1)
DELETE FROM masters WHERE master_id = $1

-- name: post
INSERT INTO peer_messages (recipient, body)
SELECT recipient, body FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS new (recipient, body, position)
ORDER BY position

-- name: take_messages
WITH taken AS (DELETE FROM peer_messages WHERE recipient = $1 RETURNING number, body)
SELECT body FROM taken ORDER BY number

-- name: leadership
SELECT epoch, holder, counter FROM leadership

-- name: hold_epoch
SELECT epoch, holder FROM leadership FOR KEY SHARE

-- name: take
UPDATE leadership SET epoch = epoch + 1, holder = $1, counter = 0
WHERE epoch = $2 AND counter = $3 AND holder IS NOT DISTINCT FROM $4
RETURNING epoch

-- name: renew
UPDATE leadership SET counter = counter + 1 WHERE holder = $1 AND epoch = $2 RETURNING epoch

-- name: resign
UPDATE leadership SET holder = NULL WHERE holder = $1 AND epoch = $2
