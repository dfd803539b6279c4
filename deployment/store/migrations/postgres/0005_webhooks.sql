-- Version 5: webhooks, an outbox. The row is inserted with the task's end; `lease_until` is of the process that sends it now.
CREATE TABLE webhook_deliveries (
    delivery_id TEXT    COLLATE "C" PRIMARY KEY,              -- the event's id
    task_id     TEXT    NOT NULL,
    tenant      TEXT    COLLATE "C" NOT NULL,
    receiver    TEXT    COLLATE "C" NOT NULL,                 -- host:port of the URL
    url         TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'WAITING' CHECK (state IN ('WAITING', 'DELIVERED', 'GIVEN_UP')),
    attempts    INTEGER NOT NULL DEFAULT 0,       -- all, the fence of a claim
    tries       INTEGER NOT NULL DEFAULT 0,       -- since began_at
    created_at  DOUBLE PRECISION NOT NULL,
    began_at    DOUBLE PRECISION NOT NULL,                 -- the event, or the last time it was asked for again
    due_at      DOUBLE PRECISION NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL DEFAULT 0.0,
    ended_at    DOUBLE PRECISION,
    last_status INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'WAITING';
CREATE INDEX webhook_deliveries_tenant ON webhook_deliveries (tenant, created_at);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (began_at);

CREATE TABLE webhook_attempts (
    delivery_id TEXT    COLLATE "C" NOT NULL,
    attempt     INTEGER NOT NULL,
    at          DOUBLE PRECISION NOT NULL,
    seconds     DOUBLE PRECISION NOT NULL,
    status      INTEGER NOT NULL,
    detail      TEXT    NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);
