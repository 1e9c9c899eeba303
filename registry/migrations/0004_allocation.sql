-- Prefixes from application to revocation. Every question about them is asked by key or by an index: ten million
-- allocations cost each of them no more than ten.

-- What organisations applied for, and what became of it.
CREATE TABLE applications (
    id           text        NOT NULL PRIMARY KEY, -- app_…
    number       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY, -- order of the lists
    version      bigint      NOT NULL,             -- 1 at first, one more at every change
    organisation text        NOT NULL,
    parent       bytea       NOT NULL,             -- folded prefix below which; empty for a prefix of one label
    label        text,                             -- null: the next free number
    hosting      text        NOT NULL,             -- hosted, delegated
    site         bytea,                            -- of a delegated prefix: who shall serve it, data of an HS_SITE
    purpose      text        NOT NULL,             -- what the applicant wants it for
    state        text        NOT NULL,             -- applied, approved, rejected, withdrawn, allocated
    reason       text        NOT NULL DEFAULT '',  -- of the last decision
    applied      timestamptz NOT NULL,
    applied_by   text        NOT NULL,
    decided      timestamptz,
    decided_by   text,
    proved       timestamptz,                      -- when the node of the site proved that it holds its key
    prefix       bytea                             -- what was allocated in the end
);

CREATE INDEX applications_by_number ON applications (number);
CREATE INDEX applications_by_organisation ON applications (organisation, number);
CREATE INDEX applications_by_state ON applications (state, number);

-- Allocated prefixes; a revoked one keeps its row.
CREATE TABLE allocations (
    prefix       bytea       NOT NULL PRIMARY KEY, -- folded
    name         bytea       NOT NULL,             -- as it was spelled
    parent       bytea       NOT NULL,             -- folded; empty for a prefix of one label
    organisation text,                             -- who holds it; null: allocated by a command of the operator
    hosting      text        NOT NULL,             -- hosted, delegated
    state        text        NOT NULL,             -- active, suspended, revoked
    reason       text        NOT NULL DEFAULT '',  -- of the last act
    version      bigint      NOT NULL,             -- 1 at first, one more at every act
    site         bytea       NOT NULL,             -- data of the HS_SITE values of its record
    site_digest  bytea       NOT NULL,             -- SHA-256 of them
    withheld     integer[]   NOT NULL DEFAULT '{}', -- while suspended: indexes of the values that are not public
    namespace    bytea,                            -- while suspended: the HS_NAMESPACE value that stood there before
    allocated    timestamptz NOT NULL,
    changed      timestamptz NOT NULL,
    revoked      timestamptz,                      -- the last time that it was
    probed       timestamptz,                      -- when its node was last asked whether it serves the prefix
    probe_fault  text                              -- what was wrong then; null when all was well
);

CREATE INDEX allocations_by_organisation ON allocations (organisation, prefix);
CREATE INDEX allocations_by_parent ON allocations (parent, prefix);
CREATE INDEX allocations_by_state ON allocations (state, prefix);
CREATE INDEX allocations_by_site ON allocations (site_digest, prefix) WHERE hosting = 'hosted' AND state <> 'revoked';

-- One row for every act on an allocated prefix.
CREATE TABLE allocation_history (
    prefix       bytea       NOT NULL,
    version      bigint      NOT NULL, -- the one that the act led to
    act          text        NOT NULL, -- allocate, change_route, move, transfer, suspend, resume, revoke, purge
    state        text        NOT NULL, -- afterwards, as the next two
    hosting      text        NOT NULL,
    organisation text,
    reason       text        NOT NULL,
    actor        text        NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (prefix, version)
);

-- Where the search for the next free number below a prefix goes on.
CREATE TABLE allocation_numbers (
    parent bytea  NOT NULL PRIMARY KEY,
    next   bigint NOT NULL
);

-- Work on all records of a prefix, done in batches of one transaction each: what a stop interrupts goes on there.
CREATE TABLE allocation_jobs (
    id       text        NOT NULL PRIMARY KEY, -- job_…
    number   bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind     text        NOT NULL,             -- rewrite, purge
    prefix   bytea       NOT NULL,
    holder   text,                             -- of rewrite: the organisation whose identities are replaced
    position bytea       NOT NULL DEFAULT '',  -- key of the last record that was looked at
    records  bigint      NOT NULL DEFAULT 0,   -- looked at
    changed  bigint      NOT NULL DEFAULT 0,
    started  timestamptz NOT NULL,
    ended    timestamptz                       -- null while it runs
);

CREATE INDEX allocation_jobs_open ON allocation_jobs (number) WHERE ended IS NULL;
CREATE INDEX allocation_jobs_by_prefix ON allocation_jobs (prefix, number);
