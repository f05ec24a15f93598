-- Who the masters are, who leads, and what they have changed.

CREATE TABLE cluster (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster_id text NOT NULL
);

CREATE TABLE masters (
    master_id text COLLATE "C" PRIMARY KEY,
    advertise_url text NOT NULL,
    version text NOT NULL,
    counter bigint NOT NULL DEFAULT 0,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The epoch is part of a key: a takeover waits for every commit that holds the row FOR KEY SHARE,
-- while renewals, which only raise the counter, pass.
CREATE TABLE leadership (
    only_row boolean NOT NULL DEFAULT true CHECK (only_row) UNIQUE,
    epoch bigint NOT NULL,
    holder text,
    counter bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (epoch)
) WITH (fillfactor = 50);
INSERT INTO leadership (epoch) VALUES (0);

CREATE TABLE changes (
    master_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    body json NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (master_id, number)
);
CREATE INDEX changes_by_age ON changes (committed_at);
