-- Reverse look-up: which handles have this value. An entry for each public value of the types that the node's settings
-- name, written in the transaction of the record. An entry is a hint: whoever follows it looks at the record itself.
CREATE TABLE handle_lookups (
    type bytea NOT NULL, -- ASCII letters folded
    data bytea NOT NULL, -- at most 1,024 octets; a longer value has no entry
    key  bytea NOT NULL, -- of the handle
    PRIMARY KEY (type, data, key)
);
