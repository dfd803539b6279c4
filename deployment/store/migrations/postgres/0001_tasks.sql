-- The task store, version 1: tables and meanings as in SQLite's file of that name.

-- The store's clock: seconds since the epoch, whole milliseconds, when the transaction began. Tests set hhray.clock.
CREATE FUNCTION store_now() RETURNS DOUBLE PRECISION LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        CAST(nullif(current_setting('hhray.clock', true), '') AS DOUBLE PRECISION),
        CAST(round(CAST(extract(epoch FROM now()) AS NUMERIC), 3) AS DOUBLE PRECISION)
    )
$$;

CREATE TABLE tasks (
    number           BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id          TEXT    COLLATE "C" NOT NULL UNIQUE,
    tenant           TEXT    COLLATE "C" NOT NULL,
    api_key_id       TEXT    NOT NULL,
    idempotency_key  TEXT    COLLATE "C",
    request_id       TEXT    NOT NULL,
    request          TEXT    NOT NULL,
    model            TEXT    COLLATE "C" NOT NULL,
    bucket           TEXT    COLLATE "C" NOT NULL,
    gpu_seconds      DOUBLE PRECISION NOT NULL,
    state            TEXT    COLLATE "C" NOT NULL DEFAULT 'PENDING'
                     CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')),
    ready            INTEGER NOT NULL,
    sequence         BIGINT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    attempt          INTEGER NOT NULL DEFAULT 0,
    faults           INTEGER NOT NULL DEFAULT 0,
    submitted_at     DOUBLE PRECISION NOT NULL,
    expires_at       DOUBLE PRECISION NOT NULL,
    scheduled_at     DOUBLE PRECISION,
    started_at       DOUBLE PRECISION,
    ended_at         DOUBLE PRECISION,
    error_code       TEXT    NOT NULL DEFAULT '',
    error_message    TEXT    NOT NULL DEFAULT '',
    artifact_key     TEXT    NOT NULL DEFAULT '',
    artifact_sha256  TEXT    NOT NULL DEFAULT '',
    artifact_bytes   BIGINT  NOT NULL DEFAULT 0,
    notice           TEXT    NOT NULL DEFAULT '',
    stages           TEXT    NOT NULL DEFAULT '{}',
    CHECK ((sequence IS NOT NULL) = (state = 'PENDING' AND ready = 1)),
    CHECK ((ended_at IS NOT NULL) = (state IN ('SUCCEEDED', 'FAILED', 'CANCELED')))
);

CREATE UNIQUE INDEX tasks_idempotency ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX tasks_oldest ON tasks (submitted_at, number) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_bucket ON tasks (bucket, submitted_at, number) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_sequence ON tasks (sequence) WHERE state = 'PENDING' AND ready = 1;
CREATE INDEX tasks_media ON tasks (submitted_at, number) WHERE state = 'PENDING' AND ready = 0;
CREATE INDEX tasks_depth ON tasks (state) INCLUDE (gpu_seconds) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX tasks_tenant ON tasks (tenant, submitted_at, number);
CREATE INDEX tasks_expiry ON tasks (expires_at);

-- Narrow and half empty pages: a renewal rewrites a row of some 100 bytes in place, and no index.
CREATE TABLE leases (
    task_id     TEXT    COLLATE "C" PRIMARY KEY,
    owner       TEXT    COLLATE "C" NOT NULL,
    fence       INTEGER NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL,
    progress    DOUBLE PRECISION NOT NULL DEFAULT 0.0,
    stage       TEXT    NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

CREATE TABLE media_claims (
    task_id     TEXT COLLATE "C" PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL
);

CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;

CREATE TABLE engines (
    engine_id  TEXT    COLLATE "C" PRIMARY KEY,
    world_size INTEGER NOT NULL,
    preset     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    detail     TEXT    NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE sequence (last BIGINT NOT NULL);
INSERT INTO sequence (last) VALUES (0);

CREATE TABLE drain (deadline DOUBLE PRECISION);
INSERT INTO drain (deadline) VALUES (NULL);

CREATE TABLE events (
    event_id          BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id           TEXT    NOT NULL,
    resolution        TEXT    NOT NULL,
    duration          INTEGER NOT NULL,
    mode              TEXT    NOT NULL,
    outcome           TEXT    NOT NULL,
    clip_milliseconds BIGINT  NOT NULL,
    stages            TEXT    NOT NULL
);

CREATE TABLE rollup (
    metric           TEXT   COLLATE "C" NOT NULL,
    labels           TEXT   COLLATE "C" NOT NULL,
    counts           TEXT   NOT NULL,
    sum_microseconds BIGINT NOT NULL,
    PRIMARY KEY (metric, labels)
);

CREATE TABLE watermark (event_id BIGINT NOT NULL);
INSERT INTO watermark (event_id) VALUES (0);
