-- Leadership is held by what outlives a master's restarts; this tells which master on record that is.
ALTER TABLE masters ADD COLUMN identity text NOT NULL DEFAULT '';
