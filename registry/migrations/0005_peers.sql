-- Neighbours: the node above, the nodes below, what they told each other, and moves of prefixes between them.
-- A node is known by its key id: the SHA-256 of the public key of its site record, in hexadecimal.

-- Nonces of signed requests, kept for as long as a signature is valid: the same request counts once.
CREATE TABLE node_nonces (
    node    text        NOT NULL, -- key id; empty for all nodes that are not known yet
    nonce   text        NOT NULL,
    expires timestamptz NOT NULL,
    PRIMARY KEY (node, nonce)
);

CREATE INDEX node_nonces_by_end ON node_nonces (expires);

-- Nodes above, whose key was pinned at the first contact.
CREATE TABLE upstream_nodes (
    node          text        NOT NULL PRIMARY KEY,
    url           text        NOT NULL UNIQUE,
    public_key    bytea       NOT NULL,
    site          bytea       NOT NULL,
    pinned        timestamptz NOT NULL,
    last_contact  timestamptz,
    fault         text        NOT NULL DEFAULT '', -- of the last attempt to reach it; empty when it went well
    route_checked timestamptz,
    route_fault   text                             -- in what its record of our prefix differs from our site; null: in nothing
);

-- What we asked a node above for.
CREATE TABLE enrolments (
    id           text        NOT NULL PRIMARY KEY, -- enr_…, the id of the message too
    node         text        NOT NULL,             -- above
    organisation text,                             -- ours, which holds the prefix; null for the node itself
    claim        text,                             -- the organisation's id at the node above, where it has one there
    wanted       text,                             -- a label; null for the next free number
    joins        boolean     NOT NULL,             -- no prefix is wanted: one that is hosted there shall move here
    state        text        NOT NULL,             -- sending, applied, homed, allocated, joined, rejected
    reason       text        NOT NULL DEFAULT '',
    prefix       bytea,
    attempts     integer     NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL,
    created      timestamptz NOT NULL,
    changed      timestamptz NOT NULL
);

CREATE INDEX enrolments_open ON enrolments (next_at) WHERE state IN ('sending', 'applied', 'homed');

-- Messages to nodes above, until they are answered; one for each subject, the latest contents count.
CREATE TABLE outbox (
    node     text        NOT NULL,
    kind     text        NOT NULL,             -- filing, report, heartbeat
    subject  text        NOT NULL,             -- an organisation, a day; empty for the node
    version  bigint      NOT NULL,             -- of the contents
    attempts integer     NOT NULL DEFAULT 0,
    next_at  timestamptz NOT NULL,
    sent     timestamptz,                      -- when this version was answered; null while it waits
    fault    text        NOT NULL DEFAULT '',  -- of the last attempt
    created  timestamptz NOT NULL,
    PRIMARY KEY (node, kind, subject)
);

CREATE INDEX outbox_waiting ON outbox (next_at) WHERE sent IS NULL;

-- Nodes below, whose key was proven by their application.
CREATE TABLE downstream_nodes (
    node         text        NOT NULL PRIMARY KEY,
    number       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY, -- order of the list
    public_key   bytea       NOT NULL,
    site         bytea       NOT NULL,
    offered_site bytea,                            -- what the node says its site is, until it is probed
    claim        text,                             -- the organisation that the node says it belongs to
    organisation text,                             -- the one that it belongs to, confirmed by both
    state        text        NOT NULL,             -- known, barred
    reason       text        NOT NULL DEFAULT '',
    version      text        NOT NULL DEFAULT '',  -- of its software, as it says
    first_seen   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    proved       timestamptz,
    probed       timestamptz,
    probe_fault  text                              -- what was wrong then; null when all was well
);

CREATE INDEX downstream_nodes_by_organisation ON downstream_nodes (organisation, node);
CREATE INDEX downstream_nodes_by_number ON downstream_nodes (number);

-- What nodes below applied for.
CREATE TABLE node_applications (
    node         text        NOT NULL,
    id           text        NOT NULL,             -- the child's message
    joins        boolean     NOT NULL,
    organisation text,                             -- here
    wanted       text,
    application  text,                             -- app_…, once the organisation is approved
    prefix       bytea,
    state        text        NOT NULL,             -- organisation, prefix, offered, ready, allocated, joined, rejected
    reason       text        NOT NULL DEFAULT '',
    next_at      timestamptz NOT NULL,
    created      timestamptz NOT NULL,
    changed      timestamptz NOT NULL,
    PRIMARY KEY (node, id)
);

CREATE INDEX node_applications_open ON node_applications (next_at)
    WHERE state IN ('organisation', 'prefix', 'offered', 'ready');

-- Organisations that nodes below have filed, and what we said to it.
CREATE TABLE filings (
    node         text        NOT NULL,
    organisation text        NOT NULL, -- its id at the node below
    number       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    version      bigint      NOT NULL, -- of the contents, given by the node below
    name         text        NOT NULL,
    certificate  text        NOT NULL,
    profile      text        NOT NULL, -- JSON
    state        text        NOT NULL, -- filed, refused
    reason       text        NOT NULL DEFAULT '',
    decided_by   text        NOT NULL,
    received     timestamptz NOT NULL,
    decided      timestamptz NOT NULL,
    PRIMARY KEY (node, organisation)
);

CREATE INDEX filings_by_number ON filings (number);
CREATE INDEX filings_by_decision ON filings (node, decided);

-- Daily reports of nodes below.
CREATE TABLE reports (
    node     text        NOT NULL,
    day      date        NOT NULL,
    contents text        NOT NULL, -- JSON
    received timestamptz NOT NULL,
    PRIMARY KEY (node, day)
);

-- Moves of a prefix between a node above and one below; each side keeps a row with the same id.
CREATE TABLE moves (
    id         text        NOT NULL PRIMARY KEY, -- mov_…
    number     bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    prefix     bytea       NOT NULL,             -- folded
    name       bytea       NOT NULL,
    direction  text        NOT NULL,             -- delegated: to the node below; hosted: to the node above
    drives     boolean     NOT NULL,             -- whether this is the side above, which takes the steps
    node       text        NOT NULL,             -- the other side
    organisation text,                           -- who holds the prefix here
    reason     text        NOT NULL DEFAULT '',
    phase      text        NOT NULL,
    position   bytea       NOT NULL DEFAULT '',  -- key of the last row that was copied
    since_ms   bigint      NOT NULL DEFAULT 0,   -- this pass copies what has changed since then
    pass_ms    bigint      NOT NULL DEFAULT 0,   -- when this pass began, with a margin for clocks and slow writers
    rows       bigint      NOT NULL DEFAULT 0,   -- copied
    differed   integer     NOT NULL DEFAULT 0,   -- comparisons that found a difference
    fault      text        NOT NULL DEFAULT '',  -- of the last step; empty when it went well
    attempts   integer     NOT NULL DEFAULT 0,   -- failed ones of the present step
    next_at    timestamptz NOT NULL,
    frozen_at  timestamptz,                      -- since when writes are refused for it; null when they are not
    started_by text        NOT NULL,
    started    timestamptz NOT NULL,
    changed    timestamptz NOT NULL,
    ended      timestamptz
);

CREATE UNIQUE INDEX moves_open ON moves (prefix) WHERE ended IS NULL;
CREATE INDEX moves_due ON moves (next_at) WHERE ended IS NULL AND drives;
CREATE INDEX moves_by_number ON moves (number);

-- Copies of prefixes that were moved away, kept until nobody can have an old delegation in his cache.
CREATE TABLE moved_copies (
    prefix  bytea       NOT NULL PRIMARY KEY,
    drop_at timestamptz NOT NULL
);

CREATE INDEX moved_copies_by_end ON moved_copies (drop_at);

-- Delegated prefixes in the order in which they are probed, and organisations that are not filed yet.
CREATE INDEX allocations_to_probe ON allocations (probed NULLS FIRST, prefix)
    WHERE hosting = 'delegated' AND state = 'active';
CREATE INDEX organisations_to_file ON organisations (id) WHERE review = 'approved' AND filing_state = 'none';
