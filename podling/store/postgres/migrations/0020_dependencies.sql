-- What each task waits for that waits for others; its rows go when it waits no more. `parent_end` is how the
-- parent has ended, null until the leader has noted it: history may forget the parent before.
CREATE TABLE dependencies (
    child_id text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C" NOT NULL,
    condition text NOT NULL,
    parent_end text,
    PRIMARY KEY (child_id, parent_id)
);
CREATE INDEX dependencies_open ON dependencies (parent_id, child_id) WHERE parent_end IS NULL;
