-- Version 6: what tenants use against their quotas, usage by day, the audit log, prompts that are not kept.
ALTER TABLE tasks ADD COLUMN keep_prompt INTEGER NOT NULL DEFAULT 1;  -- 0: blanked once the task has ended

-- One row per tenant, changed by every create and every end. Sums are those of `day` and `month`, in milliseconds.
CREATE TABLE tenant_counters (
    tenant         TEXT    PRIMARY KEY,
    next_create_at REAL    NOT NULL,              -- when an even stream of creates would make the next one
    unfinished     INTEGER NOT NULL,              -- PENDING and RUNNING
    day            INTEGER NOT NULL,              -- days since the epoch
    gpu_ms         INTEGER NOT NULL,
    month          INTEGER NOT NULL,              -- year * 100 + month
    video_ms       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tenant_counters (tenant, next_create_at, unfinished, day, gpu_ms, month, video_ms)
SELECT tenant, 0.0, count(*), 0, 0, 0, 0 FROM tasks WHERE state IN ('PENDING', 'RUNNING') GROUP BY tenant;

CREATE TABLE usage_days (
    tenant     TEXT    NOT NULL,
    day        INTEGER NOT NULL,
    model      TEXT    NOT NULL,
    resolution TEXT    NOT NULL,
    mode       TEXT    NOT NULL,
    clips      INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    cancels    INTEGER NOT NULL,
    video_ms   INTEGER NOT NULL,
    gpu_ms     INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, model, resolution, mode)
) STRICT, WITHOUT ROWID;

-- Append-only: nothing is changed, and nothing younger than `keep_after` is removed. Only `hhray audit --drop-older-than` moves it.
CREATE TABLE audit (
    audit_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at          REAL    NOT NULL,
    what        TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    key_id      TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    prompt_hash TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    seed        INTEGER NOT NULL,
    weights     TEXT    NOT NULL,
    layout      TEXT    NOT NULL,
    result      TEXT    NOT NULL,
    code        TEXT    NOT NULL
) STRICT;
CREATE TABLE audit_retention (keep_after REAL NOT NULL) STRICT;
INSERT INTO audit_retention (keep_after) VALUES (0.0);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit WHEN OLD.at >= (SELECT keep_after FROM audit_retention)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
