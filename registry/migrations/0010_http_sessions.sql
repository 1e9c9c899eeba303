-- Sessions of the record API: who has answered a challenge, and may refer to that answer by the id of the challenge.

-- A challenge that nobody has answered is kept nowhere: its id tells all about it, under a key of the node.
CREATE TABLE http_sessions (
    lookup    bytea       PRIMARY KEY, -- SHA-256 of the id; who reads the database can use none
    key_index bigint      NOT NULL,    -- whose key it was: the value ...
    name      bytea       NOT NULL,    -- ... of this handle
    opened    timestamptz NOT NULL,
    last_used timestamptz NOT NULL,    -- to the minute
    ended     boolean     NOT NULL     -- a row stays for as long as its challenge could be answered again
);

CREATE INDEX http_sessions_by_identity ON http_sessions (sha256(name), key_index, opened DESC) WHERE NOT ended;
CREATE INDEX http_sessions_by_use ON http_sessions (last_used);
