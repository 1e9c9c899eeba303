-- What the API keeps for itself: answers to writes that may be repeated, and what organisations use.

-- Answers to requests with an idempotency key, kept for 24 hours. Written in the transaction of the request.
CREATE TABLE idempotency_keys (
    caller         text        NOT NULL,               -- usr_…, key_… or the id of a node's key
    key            text        NOT NULL,               -- as the client sent it: printable ASCII, 8 to 255 characters
    request_digest bytea       NOT NULL,               -- SHA-256 over method, target and body
    status         integer     NOT NULL,
    headers        text        NOT NULL,               -- JSON
    body           bytea,                              -- null when none
    sealed         boolean     NOT NULL,               -- whether the body held a secret, and is encrypted
    created        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created);

-- What was used per day, in UTC. Processes add what they have counted every few seconds.
CREATE TABLE usage_days (
    organisation        text   NOT NULL, -- '' for callers of the node level
    day                 date   NOT NULL,
    requests            bigint NOT NULL DEFAULT 0,
    failures            bigint NOT NULL DEFAULT 0, -- of these, answered with a status from 400 on
    identifiers_created bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (organisation, day)
);

CREATE INDEX usage_days_by_day ON usage_days (day DESC, organisation);
