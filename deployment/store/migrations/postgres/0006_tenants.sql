-- Version 6: what tenants use against their quotas, usage by day, the audit log, prompts that are not kept. Tables and
-- meanings as in SQLite's file of that name.
ALTER TABLE tasks ADD COLUMN keep_prompt INTEGER NOT NULL DEFAULT 1;

DROP VIEW task_rows;
CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;

CREATE FUNCTION utc_day(seconds DOUBLE PRECISION) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$
    SELECT CAST(floor(seconds / 86400.0) AS BIGINT)
$$;
CREATE FUNCTION utc_month(seconds DOUBLE PRECISION) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT CAST(to_char(to_timestamp(seconds) AT TIME ZONE 'UTC', 'YYYYMM') AS BIGINT)
$$;

-- Half empty pages: every create rewrites a row in place, and no index.
CREATE TABLE tenant_counters (
    tenant         TEXT COLLATE "C" PRIMARY KEY,
    next_create_at DOUBLE PRECISION NOT NULL,
    unfinished     BIGINT NOT NULL,
    day            BIGINT NOT NULL,
    gpu_ms         BIGINT NOT NULL,
    month          BIGINT NOT NULL,
    video_ms       BIGINT NOT NULL
) WITH (fillfactor = 50);
INSERT INTO tenant_counters (tenant, next_create_at, unfinished, day, gpu_ms, month, video_ms)
SELECT tenant, 0.0, count(*), 0, 0, 0, 0 FROM tasks WHERE state IN ('PENDING', 'RUNNING') GROUP BY tenant;

CREATE TABLE usage_days (
    tenant     TEXT   COLLATE "C" NOT NULL,
    day        BIGINT NOT NULL,
    model      TEXT   COLLATE "C" NOT NULL,
    resolution TEXT   COLLATE "C" NOT NULL,
    mode       TEXT   COLLATE "C" NOT NULL,
    clips      BIGINT NOT NULL,
    failures   BIGINT NOT NULL,
    cancels    BIGINT NOT NULL,
    video_ms   BIGINT NOT NULL,
    gpu_ms     BIGINT NOT NULL,
    PRIMARY KEY (tenant, day, model, resolution, mode)
);

CREATE TABLE audit (
    audit_id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          DOUBLE PRECISION NOT NULL,
    what        TEXT   NOT NULL,
    tenant      TEXT   COLLATE "C" NOT NULL,
    key_id      TEXT   NOT NULL,
    task_id     TEXT   NOT NULL,
    prompt_hash TEXT   NOT NULL,
    model       TEXT   NOT NULL,
    seed        BIGINT NOT NULL,
    weights     TEXT   NOT NULL,
    layout      TEXT   NOT NULL,
    result      TEXT   NOT NULL,
    code        TEXT   NOT NULL
);
CREATE TABLE audit_retention (keep_after DOUBLE PRECISION NOT NULL);
INSERT INTO audit_retention (keep_after) VALUES (0.0);
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < (SELECT keep_after FROM audit_retention) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
