-- Who may come in, and what they have changed. A token's secret is not here, only its SHA-256.
-- The version is raised under the one row of `cluster`, so that a lower one is never seen after a higher.
ALTER TABLE cluster ADD COLUMN tokens_version bigint NOT NULL DEFAULT 0;

CREATE TABLE tokens (
    token_id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    secret_hash text COLLATE "C" NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('user', 'join', 'node')),
    name text NOT NULL,
    role text NOT NULL,
    node_id text COLLATE "C",
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX tokens_by_version ON tokens (version);

CREATE TABLE audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    body json NOT NULL
);
CREATE INDEX audit_by_age ON audit (at);
