-- Cron rules. Versions come from one sequence, so that a rule made anew under an old name has another one.
CREATE SEQUENCE schedule_versions;
CREATE TABLE schedules (
    schedule_id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    body json NOT NULL
);
ALTER SEQUENCE schedule_versions OWNED BY schedules.version;

-- How far each has come; apart, because every fire writes it.
CREATE TABLE schedule_states (
    schedule_id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    cursor timestamptz NOT NULL,
    last_task_id text COLLATE "C"
) WITH (fillfactor = 50);

-- What was decided of each time: the key is what makes every fire happen once.
CREATE TABLE schedule_fires (
    schedule_id text COLLATE "C" NOT NULL,
    fire_time timestamptz NOT NULL,
    manual boolean NOT NULL,
    outcome text NOT NULL,
    at timestamptz NOT NULL,
    task_id text COLLATE "C",
    message text,
    count bigint NOT NULL,
    PRIMARY KEY (schedule_id, fire_time, manual)
);
CREATE INDEX schedule_fires_age ON schedule_fires (at);
