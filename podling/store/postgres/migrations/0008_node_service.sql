-- What an operator has said about a node, apart from what its worker says of itself in `body`: a
-- session that begins writes the one and never the other.
ALTER TABLE node_records ADD COLUMN cordoned boolean NOT NULL DEFAULT false;
ALTER TABLE node_records ADD COLUMN drain json;
UPDATE node_records SET cordoned = coalesce((body ->> 'cordoned')::boolean, false);
