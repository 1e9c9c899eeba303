-- Organisations, people, users, sessions, API keys, and the HS_ADMIN identities that belong to them.
--
-- Personal data stand in one table, sealed with the node key; everything else names people by an opaque id. Rows are
-- kept when what they stand for ends, so that the audit log goes on naming something.

CREATE TABLE organisations (
    id                   text        NOT NULL PRIMARY KEY, -- org_…
    version              bigint      NOT NULL,             -- 1 at creation, one more at every change
    review               text        NOT NULL,             -- draft, submitted, approved, rejected
    reason               text        NOT NULL DEFAULT '',  -- why it was rejected
    suspended_reason     text,                             -- null while it is not suspended
    profile              jsonb       NOT NULL,             -- what describes it, without people
    certificate          text        NOT NULL,             -- type and number, for finding it
    approved_certificate text        UNIQUE,               -- the certificate it was last approved with
    legal_representative text,                             -- per_…
    contact              text,                             -- per_…
    submitted_by         text,
    requests_per_minute  integer     NOT NULL DEFAULT 6000,
    identifiers_per_day  bigint      NOT NULL DEFAULT 50000000,
    users_max            integer     NOT NULL DEFAULT 1000,
    keys_max             integer     NOT NULL DEFAULT 1000,
    filing_state         text        NOT NULL DEFAULT 'none', -- with the node above: none, pending, filed, refused
    filing_reason        text        NOT NULL DEFAULT '',
    filed_at             timestamptz,
    created              timestamptz NOT NULL,
    changed              timestamptz NOT NULL
);

CREATE INDEX organisations_by_review ON organisations (review, id);
CREATE INDEX organisations_suspended ON organisations (id) WHERE suspended_reason IS NOT NULL;
CREATE INDEX organisations_by_certificate ON organisations (certificate);

-- One row for every version of an organisation: what was done, why and by whom.
CREATE TABLE organisation_history (
    organisation text        NOT NULL,
    version      bigint      NOT NULL,
    act          text        NOT NULL, -- create, change, submit, approve, reject, suspend, resume, file, quota
    reason       text        NOT NULL DEFAULT '',
    actor        text        NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (organisation, version)
);

CREATE TABLE people (
    id           text        NOT NULL PRIMARY KEY, -- per_…
    organisation text,                             -- null for people of the node itself
    created      timestamptz NOT NULL,
    erased       timestamptz                       -- since when nothing is known of the person
);

-- The only place of personal data.
CREATE TABLE personal_fields (
    person       text        NOT NULL,
    field        text        NOT NULL, -- name, mobile, …
    sealed       bytea       NOT NULL, -- AES-GCM, bound to person and field
    purpose      text        NOT NULL, -- why we may keep it: sign-in, legal-representative, contact
    retain_until timestamptz,          -- null for as long as the purpose lasts; purged afterwards
    PRIMARY KEY (person, field)
);

CREATE INDEX personal_fields_by_end ON personal_fields (retain_until) WHERE retain_until IS NOT NULL;

CREATE TABLE users (
    id               text        NOT NULL PRIMARY KEY, -- usr_…
    version          bigint      NOT NULL,
    organisation     text,                             -- null at the node level
    role             text        NOT NULL,
    person           text        NOT NULL,             -- per_…; login and name stand in personal_fields
    login_digest     bytea       UNIQUE,               -- keyed digest of organisation and login; null once removed
    password         text        NOT NULL,             -- argon2id; empty once removed
    password_changed timestamptz NOT NULL,
    state            text        NOT NULL,             -- active, suspended, removed
    failures         integer     NOT NULL DEFAULT 0,   -- wrong passwords in a row
    locked_until     timestamptz,
    last_sign_in     timestamptz,
    created          timestamptz NOT NULL,
    created_by       text        NOT NULL
);

CREATE INDEX users_by_organisation ON users (organisation, id);

CREATE TABLE sessions (
    id        text        NOT NULL PRIMARY KEY, -- ses_…
    lookup    text        NOT NULL UNIQUE,      -- the part of the token that finds the row
    digest    bytea       NOT NULL,             -- SHA-256 of the token
    user_id   text        NOT NULL,
    created   timestamptz NOT NULL,
    last_used timestamptz NOT NULL,             -- to the minute
    expires   timestamptz NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_end ON sessions (expires);

CREATE TABLE api_keys (
    id              text        NOT NULL PRIMARY KEY, -- key_…
    version         bigint      NOT NULL,
    organisation    text,                             -- null at the node level
    name            text        NOT NULL,
    rights          text[]      NOT NULL,
    prefixes        bytea[],                          -- folded; null for all that the organisation holds
    test            boolean     NOT NULL,
    lookup          text        NOT NULL UNIQUE,      -- the part of the token that finds the row
    digest          bytea       NOT NULL,             -- SHA-256 of the token
    previous_digest bytea,                            -- of the token before, valid for the overlap of a rotation
    previous_until  timestamptz,
    state           text        NOT NULL,             -- active, suspended, revoked
    expires         timestamptz NOT NULL,
    last_used       timestamptz,                      -- to the minute
    created         timestamptz NOT NULL,
    created_by      text        NOT NULL
);

CREATE INDEX api_keys_by_organisation ON api_keys (organisation, id);
CREATE INDEX api_keys_by_creator ON api_keys (created_by);

-- HS_ADMIN identities that belong to somebody here: barred together with him, and found again in records.
CREATE TABLE identities (
    handle       bytea       NOT NULL, -- storage key of the record that holds the key
    index        bigint      NOT NULL,
    organisation text        NOT NULL,
    subject      text        NOT NULL, -- org_…, usr_… or key_…: whose identity it is
    created      timestamptz NOT NULL,
    PRIMARY KEY (handle, index)
);

CREATE INDEX identities_by_organisation ON identities (organisation, handle, index);
