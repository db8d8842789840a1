-- What the sister APIs keep beside the queue, and keys that are made for them.

ALTER TABLE api_key ADD COLUMN face TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN expires_at INTEGER;

-- One row for each thing of an API: a request, a policy, a webhook, a delivery, an idempotency key.
CREATE TABLE record (
    number     INTEGER PRIMARY KEY,
    face       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    link       TEXT NOT NULL,             -- what it belongs to: an approval request, a webhook; '' is nothing
    owner      TEXT NOT NULL,             -- the identity that made it
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    due_at     INTEGER,                   -- when something is to be done with it
    body       TEXT NOT NULL,
    UNIQUE (face, kind, id)
) STRICT;
CREATE INDEX record_kind ON record (face, kind, created_at);
CREATE INDEX record_link ON record (face, kind, link) WHERE link <> '';
CREATE INDEX record_due ON record (kind, due_at) WHERE due_at IS NOT NULL;

UPDATE state SET schema = 2;
