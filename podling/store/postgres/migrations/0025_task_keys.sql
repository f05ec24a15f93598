-- The one key from which the credentials of attempts are made and known. No backup has it: what a restored
-- database knows as live was given credentials by another one.
CREATE TABLE task_keys (
    only_row boolean PRIMARY KEY CHECK (only_row),
    key bytea NOT NULL
);
