-- How many machines a join token lets in, and which join token let a node in.
ALTER TABLE tokens ADD COLUMN uses integer, ADD COLUMN joined_by text COLLATE "C";
