-- The lease that a master counts with: on one database it has to be the same for all. Null of a master
-- that was started before this column was there.
ALTER TABLE masters ADD COLUMN lease_seconds double precision;
