-- The audit is read newest first by time, whichever master wrote an entry when; the number tells those of
-- one moment apart.
CREATE INDEX audit_newest ON audit (at, number);
DROP INDEX audit_by_age;
