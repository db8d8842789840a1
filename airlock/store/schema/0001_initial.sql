-- What the approval queue, its controls and the audit chain are kept in.

CREATE TABLE state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    schema   INTEGER NOT NULL,            -- the same as user_version; read inside every write
    revision INTEGER NOT NULL             -- of pauses and grants
) STRICT;
INSERT INTO state (id, schema, revision) VALUES (1, 1, 0);

-- body stands last: a scan of the other columns never reads its overflow pages.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL,
    kind       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    call_id    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    agent      TEXT NOT NULL,
    tool       TEXT NOT NULL,
    prev       BLOB NOT NULL CHECK (length(prev) = 32),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    body       TEXT NOT NULL
) STRICT;
-- Only events about a question are indexed: an index entry a plain event would cost a quarter of its time.
CREATE INDEX event_asked_call ON event (call_id) WHERE request_id <> '';
CREATE INDEX event_request ON event (request_id) WHERE request_id <> '';

CREATE TABLE request (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    code        TEXT NOT NULL COLLATE NOCASE UNIQUE,
    fingerprint TEXT NOT NULL,
    scope       TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'used', 'denied', 'expired', 'cancelled')),
    version     INTEGER NOT NULL,
    agent       TEXT NOT NULL,
    identity    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    tool        TEXT NOT NULL,
    arguments   TEXT NOT NULL,
    parts       TEXT NOT NULL,
    origin      TEXT NOT NULL,
    call_id     TEXT NOT NULL,
    rule        TEXT NOT NULL,
    rule_digest TEXT NOT NULL,
    reason      TEXT NOT NULL,
    matched     TEXT NOT NULL,
    risk        TEXT NOT NULL,
    reviewers   TEXT NOT NULL,
    reuse_ms    INTEGER,
    grantable   INTEGER NOT NULL,
    kept        INTEGER NOT NULL,
    again       INTEGER NOT NULL,
    heard       INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    grace_ms    INTEGER NOT NULL,
    decided_at  INTEGER,
    decided_by  TEXT NOT NULL,
    note        TEXT NOT NULL,
    seq         INTEGER NOT NULL          -- of the last event of the change that wrote the row
) STRICT;
CREATE UNIQUE INDEX request_live ON request (fingerprint) WHERE status IN ('pending', 'approved');
CREATE INDEX request_fingerprint ON request (fingerprint, number);
CREATE INDEX request_pending ON request (agent) WHERE status = 'pending';
CREATE INDEX request_seq ON request (seq);
CREATE INDEX request_created ON request (created_at);

CREATE TABLE vote (
    request_id TEXT NOT NULL REFERENCES request (id) ON DELETE CASCADE,
    identity   TEXT NOT NULL,
    approve    INTEGER NOT NULL,
    note       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (request_id, identity)
) STRICT;

CREATE TABLE process (
    id       TEXT PRIMARY KEY,
    beat_at  INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;

CREATE TABLE waiter (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL REFERENCES request (id) ON DELETE CASCADE,
    process_id TEXT NOT NULL REFERENCES process (id) ON DELETE CASCADE,
    since      INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;
CREATE INDEX waiter_request ON waiter (request_id);
CREATE INDEX waiter_process ON waiter (process_id);

CREATE TABLE standing_grant (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    agent       TEXT NOT NULL,
    workspace   TEXT NOT NULL,
    tool        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    any_args    INTEGER NOT NULL,
    rule        TEXT NOT NULL,
    rule_digest TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    granted_by  TEXT NOT NULL,
    granted_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;

CREATE TABLE pause (
    agent TEXT PRIMARY KEY,               -- '' is everyone
    by    TEXT NOT NULL,
    at    INTEGER NOT NULL
) STRICT;

CREATE TABLE rate_use (
    scope TEXT NOT NULL,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX rate_use_scope ON rate_use (scope, at);

CREATE TABLE api_key (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    agent      TEXT NOT NULL,
    rate       INTEGER,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revoked_at INTEGER
) STRICT;
