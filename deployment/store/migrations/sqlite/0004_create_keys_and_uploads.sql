-- Version 4: creates have keys with a life of their own, and clients upload files.
CREATE TABLE create_keys (
    tenant      TEXT NOT NULL,
    name        TEXT NOT NULL,   -- an Idempotency-Key; with a space in it: creates whose clients went away
    task_id     TEXT NOT NULL,   -- '': the create has not been committed
    fingerprint TEXT NOT NULL,   -- '': unknown
    expires_at  REAL NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX create_keys_expiry ON create_keys (expires_at);

INSERT INTO create_keys (tenant, name, task_id, fingerprint, expires_at)
SELECT tenant, idempotency_key, task_id, fingerprint, submitted_at + 86400.0
FROM tasks WHERE idempotency_key IS NOT NULL;

DROP INDEX tasks_idempotency;

CREATE TABLE uploads (
    upload_id  TEXT    PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    object_key TEXT    NOT NULL,  -- the client's name for it: compared, never a path
    num_bytes  INTEGER NOT NULL,  -- what is set aside for it, until it is complete
    sha256     TEXT    NOT NULL,  -- '' until it is complete
    expires_at REAL    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX uploads_object ON uploads (tenant, object_key);
CREATE INDEX uploads_expiry ON uploads (expires_at);

-- The sum over a tenant's uploads, so that one statement can check and take.
CREATE TABLE upload_totals (tenant TEXT PRIMARY KEY, num_bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
