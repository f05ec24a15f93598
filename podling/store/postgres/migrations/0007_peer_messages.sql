-- What one master leaves for another; taken once, and removed after a minute if nobody takes it.
CREATE TABLE peer_messages (
    recipient text COLLATE "C" NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    body text NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recipient, number)
);
