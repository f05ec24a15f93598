-- Who is told of what, with the outcome of the last try.
CREATE TABLE alert_rules (
    name text COLLATE "C" PRIMARY KEY,
    body json NOT NULL,
    last_at timestamptz,
    last_error text
);

-- Notifications on their way: written in the commit that they are about, gone when they are settled.
CREATE TABLE alerts (
    alert_id text COLLATE "C" PRIMARY KEY,
    line text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    tries bigint NOT NULL DEFAULT 0,
    body json NOT NULL
);
CREATE INDEX alerts_due ON alerts (due_at, alert_id);
