-- Minting suffixes and reserving ranges of them, and finding identifiers by state.

-- The next number of each series of a prefix. A number that is taken from here may stay unused, and is a proposal
-- only: that no suffix exists twice is what the key of handles says.
CREATE TABLE identifier_counters (
    prefix bytea  NOT NULL, -- folded
    series text   NOT NULL, -- the pattern with its date in place, such as PUMP-2026-{seq:6}
    next   bigint NOT NULL,
    PRIMARY KEY (prefix, series)
);

-- Suffixes that are reserved, head + number + tail with numbers of `digits` digits from `first` to `last`: one row
-- however many there are. A range that was released as a whole has a last below its first.
CREATE TABLE identifier_ranges (
    id           text        NOT NULL PRIMARY KEY, -- rng_…
    prefix       bytea       NOT NULL,             -- folded
    head         bytea       NOT NULL,             -- folded as the keys of handles are, like tail
    tail         bytea       NOT NULL,
    digits       smallint    NOT NULL,
    first        bigint      NOT NULL,
    last         bigint      NOT NULL,
    reserved     bigint      NOT NULL,             -- how many numbers there were before any was released
    pattern      text        NOT NULL,             -- with its date in place, as its holder spelled it
    organisation text,
    actor        text        NOT NULL,             -- who reserved it
    created      timestamptz NOT NULL,
    released     timestamptz                       -- when what was unused was released
);

CREATE UNIQUE INDEX identifier_ranges_by_number ON identifier_ranges (prefix, head, tail, digits, first)
    WHERE last >= first;
CREATE INDEX identifier_ranges_by_prefix ON identifier_ranges (prefix, id);

-- The shapes that suffixes of reserved ranges have below a prefix: a handful, however many ranges there are. By them a
-- suffix is taken apart in one way, or a few, before a range is looked for.
CREATE TABLE identifier_range_shapes (
    prefix      bytea    NOT NULL,
    head_octets smallint NOT NULL,
    digits      smallint NOT NULL,
    tail_octets smallint NOT NULL,
    PRIMARY KEY (prefix, head_octets, digits, tail_octets)
);

-- Drafts, suspended and retired identifiers are few; listing them must not walk past all the others.
CREATE INDEX handles_by_state ON handles (prefix, state, key) WHERE state > 1;
