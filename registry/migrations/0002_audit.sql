-- What was done by whom: an entry for every act, written in the transaction of the act; and what identifiers and
-- prefixes need beside their values: states, earlier versions, holders.

-- Numbers of the entries; with gaps, and not in order of commit.
CREATE SEQUENCE audit_entries;

-- One row for every act, never changed afterwards. Rows whose xact lies below the oldest running transaction are
-- complete: none can appear among them any more. So the sequencer walks (xact, id) in order and numbers what it meets.
CREATE TABLE audit_log (
    xact         bigint  NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    id           bigint  NOT NULL,
    at_ms        bigint  NOT NULL,
    actor        text    NOT NULL,             -- usr_…, key_…, index:handle, node:…, operator, system; never a name of a person
    organisation text,
    via          text    NOT NULL,             -- api, rest, import, command, node, system
    action       text    NOT NULL,             -- such as prefix.suspend
    target       text    NOT NULL,             -- what it was done to
    items        integer NOT NULL DEFAULT 0,   -- rows of transaction_log that belong to it
    digest       bytea,                        -- SHA-256 over those rows, in order of their position; null when none
    detail       text    NOT NULL DEFAULT '{}', -- JSON in canonical form
    request_id   text    NOT NULL DEFAULT '',
    PRIMARY KEY (xact, id)
);

-- Listings go by time: of everything, or of one organisation.
CREATE INDEX audit_log_by_time ON audit_log (at_ms, id);
CREATE INDEX audit_log_by_organisation ON audit_log (organisation, at_ms, id) WHERE organisation IS NOT NULL;

-- The numbers of the entries and the hash chain over them, written by one sequencer per database, insert-only.
CREATE TABLE audit_chain (
    number     bigint NOT NULL PRIMARY KEY, -- from 1, without gaps
    xact       bigint NOT NULL,
    id         bigint NOT NULL,
    chain      bytea  NOT NULL,             -- SHA-256 over the previous chain and the entry
    log_number bigint NOT NULL              -- number of the entry's last row of transaction_log, counted from 1
);

CREATE UNIQUE INDEX audit_chain_by_entry ON audit_chain (xact, id);

-- A row of the transaction log belongs to an entry, which gives it its number; 0: from before there were entries.
ALTER TABLE transaction_log DROP COLUMN number;
ALTER TABLE transaction_log ADD COLUMN entry bigint NOT NULL DEFAULT 0;
ALTER TABLE transaction_log ADD COLUMN position integer NOT NULL DEFAULT 0;
CREATE INDEX transaction_log_by_entry ON transaction_log (entry, position);

-- handles.state: 0 stored, 1 deleted, 2 draft, 3 suspended, 4 retired.

-- Every state of a handle that was replaced by a later one.
CREATE TABLE handle_versions (
    key               bytea    NOT NULL,
    version           bigint   NOT NULL,
    name              bytea    NOT NULL,
    public_values     bytea    NOT NULL,
    public_count      integer  NOT NULL,
    restricted_values bytea,
    restricted_count  integer  NOT NULL,
    state             smallint NOT NULL,
    changed_ms        bigint   NOT NULL, -- since when it was so
    ended_ms          bigint   NOT NULL, -- until when, the instant itself excluded
    PRIMARY KEY (key, version)
) PARTITION BY HASH (key);

DO $$
BEGIN
    FOR remainder IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE handle_versions_%s PARTITION OF handle_versions FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            lpad(remainder::text, 2, '0'), remainder);
    END LOOP;
END
$$;

-- Why a handle is suspended or retired, and since when; one row for each handle that is.
CREATE TABLE handle_states (
    key       bytea  NOT NULL PRIMARY KEY,
    reason    text   NOT NULL,
    successor bytea,
    actor     text   NOT NULL,
    since_ms  bigint NOT NULL
);

ALTER TABLE prefixes ADD COLUMN organisation text;                      -- who holds it, where it is hosted for somebody
ALTER TABLE prefixes ADD COLUMN status smallint NOT NULL DEFAULT 0;     -- 0 active, 1 suspended, 2 revoked
ALTER TABLE prefixes ADD COLUMN status_text text NOT NULL DEFAULT '';   -- what clients are told
ALTER TABLE prefixes ADD COLUMN frozen boolean NOT NULL DEFAULT false;  -- writes are refused for a moment
ALTER TABLE prefixes ADD COLUMN moved_values bytea;                     -- HS_SITE values of who serves it now
ALTER TABLE prefixes ADD COLUMN moved_count integer NOT NULL DEFAULT 0;
ALTER TABLE prefixes ADD COLUMN has_ranges boolean NOT NULL DEFAULT false;
CREATE INDEX prefixes_by_organisation ON prefixes (organisation, prefix) WHERE organisation IS NOT NULL;
