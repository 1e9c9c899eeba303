-- Handles, the log of their changes, homed prefixes, facts of the node and the counters of its days.
--
-- Works on PostgreSQL 15 to 18 without extensions. No triggers and no foreign keys, children begin with `key`
-- and ids are bigint, so that the tables of handles can also be distributed by `key`.

CREATE TABLE handles (
    key               bytea    NOT NULL, -- the name, ASCII letters folded: identity and hash partition key
    name              bytea    NOT NULL, -- the name as it was created
    prefix            bytea    NOT NULL, -- the folded prefix, for listing
    public_values     bytea    NOT NULL, -- values with public-read in wire form, ascending by index
    public_count      integer  NOT NULL,
    restricted_values bytea,             -- the other values in wire form, their data sealed; null when none
    restricted_count  integer  NOT NULL DEFAULT 0,
    state             smallint NOT NULL DEFAULT 0, -- 0 stored, 1 deleted (without values, kept for its version)
    version           bigint   NOT NULL, -- 1 at creation, one more at every change, never reset
    changed_ms        bigint   NOT NULL, -- Unix milliseconds of the last change, ascending with version
    PRIMARY KEY (key)
) PARTITION BY HASH (key);

DO $$
BEGIN
    FOR remainder IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE handles_%s PARTITION OF handles FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            lpad(remainder::text, 2, '0'), remainder);
    END LOOP;
END
$$;

CREATE INDEX handles_by_prefix ON handles (prefix, key);

-- One row for every committed change, written in the transaction of the change. The number comes later, in
-- order of commit, so that writers never wait for each other.
CREATE TABLE transaction_log (
    key        bytea    NOT NULL,
    name       bytea    NOT NULL,
    action     smallint NOT NULL, -- 1 create, 2 delete, 3 update, 4 home, 5 unhome
    version    bigint   NOT NULL,
    changed_ms bigint   NOT NULL,
    number     bigint
);

-- Prefixes that this node homes, and prefixes whose authorisation record it was given.
CREATE TABLE prefixes (
    prefix               bytea       NOT NULL PRIMARY KEY, -- folded
    name                 bytea       NOT NULL,             -- as it was spelled
    homed                boolean     NOT NULL,
    authorisation_values bytea       NOT NULL,             -- copy of 0.NA/<prefix> for authorisation, never answered
    authorisation_count  integer     NOT NULL,
    created              timestamptz NOT NULL DEFAULT now()
);

-- Small facts of the node, such as the serial number of its site record.
CREATE TABLE node (
    name  text  NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);

-- What a node counts per day, from the first day on, since it cannot be rebuilt. Counts are added up,
-- the largest peak and the extreme latencies are kept.
CREATE TABLE daily_statistics (
    day           date    NOT NULL PRIMARY KEY,
    resolutions   bigint  NOT NULL DEFAULT 0,
    successes     bigint  NOT NULL DEFAULT 0,
    denials       bigint  NOT NULL DEFAULT 0,
    failures      bigint  NOT NULL DEFAULT 0,
    registrations bigint  NOT NULL DEFAULT 0,
    peak_per_s    integer NOT NULL DEFAULT 0,
    peak_at       timestamptz,
    latency_min_s double precision,
    latency_max_s double precision,
    latency_sum_s double precision NOT NULL DEFAULT 0
);

CREATE TABLE daily_sources (
    day         date   NOT NULL,
    source      text   NOT NULL, -- a network such as 192.0.2.0/24, or "other" beyond the bound
    resolutions bigint NOT NULL,
    PRIMARY KEY (day, source)
);
