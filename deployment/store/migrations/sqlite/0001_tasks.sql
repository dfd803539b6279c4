-- The task store, version 1. Times are seconds since the epoch in whole milliseconds. Columns hold what is filtered or
-- indexed; a request, stage seconds and the like are JSON text. A migration that has been released is never edited: a
-- change of the schema, or of the histograms' buckets, is the next file.
PRAGMA application_id = 1751675489;

CREATE TABLE tasks (
    number           INTEGER PRIMARY KEY,          -- order of creation; breaks ties of submitted_at
    task_id          TEXT    NOT NULL UNIQUE,
    tenant           TEXT    NOT NULL,
    api_key_id       TEXT    NOT NULL,
    idempotency_key  TEXT,
    request_id       TEXT    NOT NULL,
    request          TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    bucket           TEXT    NOT NULL,
    gpu_seconds      REAL    NOT NULL,
    state            TEXT    NOT NULL DEFAULT 'PENDING'
                     CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')),
    ready            INTEGER NOT NULL,
    sequence         INTEGER,                      -- a new, larger number each time the task becomes claimable
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    attempt          INTEGER NOT NULL DEFAULT 0,
    faults           INTEGER NOT NULL DEFAULT 0,
    submitted_at     REAL    NOT NULL,
    expires_at       REAL    NOT NULL,
    scheduled_at     REAL,
    started_at       REAL,
    ended_at         REAL,
    error_code       TEXT    NOT NULL DEFAULT '',
    error_message    TEXT    NOT NULL DEFAULT '',
    artifact_key     TEXT    NOT NULL DEFAULT '',
    artifact_sha256  TEXT    NOT NULL DEFAULT '',
    artifact_bytes   INTEGER NOT NULL DEFAULT 0,
    notice           TEXT    NOT NULL DEFAULT '',
    stages           TEXT    NOT NULL DEFAULT '{}',
    CHECK ((sequence IS NOT NULL) = (state = 'PENDING' AND ready = 1)),
    CHECK ((ended_at IS NOT NULL) = (state IN ('SUCCEEDED', 'FAILED', 'CANCELED')))
) STRICT;

CREATE UNIQUE INDEX tasks_idempotency ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX tasks_oldest ON tasks (submitted_at) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_bucket ON tasks (bucket, submitted_at) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_sequence ON tasks (sequence) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_media ON tasks (submitted_at) WHERE state = 'PENDING' AND ready = 0;
CREATE INDEX tasks_depth ON tasks (state, gpu_seconds) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX tasks_tenant ON tasks (tenant, submitted_at);
CREATE INDEX tasks_expiry ON tasks (expires_at);

-- One row per RUNNING task. Apart from the tasks, because it is rewritten every few seconds.
CREATE TABLE leases (
    task_id     TEXT    PRIMARY KEY,
    owner       TEXT    NOT NULL,
    fence       INTEGER NOT NULL,
    lease_until REAL    NOT NULL,
    progress    REAL    NOT NULL DEFAULT 0.0,
    stage       TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Who fetches the media of a PENDING task that is not ready.
CREATE TABLE media_claims (
    task_id     TEXT PRIMARY KEY,
    owner       TEXT NOT NULL,
    lease_until REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;

CREATE TABLE engines (
    engine_id  TEXT    PRIMARY KEY,
    world_size INTEGER NOT NULL,
    preset     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    updated_at REAL    NOT NULL,
    detail     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
INSERT INTO sequence (last) VALUES (0);

CREATE TABLE drain (deadline REAL) STRICT;
INSERT INTO drain (deadline) VALUES (NULL);

-- One row per ended task until it is folded. AUTOINCREMENT: an id never comes back, so the watermark stays true.
CREATE TABLE events (
    event_id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id           TEXT    NOT NULL,
    resolution        TEXT    NOT NULL,
    duration          INTEGER NOT NULL,
    mode              TEXT    NOT NULL,
    outcome           TEXT    NOT NULL,
    clip_milliseconds INTEGER NOT NULL,
    stages            TEXT    NOT NULL
) STRICT;

-- Whole microseconds, so that sums are exact in whatever order events are added.
CREATE TABLE rollup (
    metric           TEXT    NOT NULL,
    labels           TEXT    NOT NULL,
    counts           TEXT    NOT NULL,
    sum_microseconds INTEGER NOT NULL,
    PRIMARY KEY (metric, labels)
) STRICT, WITHOUT ROWID;

CREATE TABLE watermark (event_id INTEGER NOT NULL) STRICT;
INSERT INTO watermark (event_id) VALUES (0);
