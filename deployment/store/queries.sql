-- The statements that all SQL databases share. store_now() is the time the transaction began, in seconds since the
-- epoch; greatest(store_now(), submitted_at) keeps a clock that was set back from making negative durations. A cast
-- tells PostgreSQL the type of a parameter that may be NULL.

-- clients

-- name: task_by_key
SELECT * FROM task_rows WHERE tenant = :tenant AND idempotency_key = :idempotency_key;

-- name: insert_task
INSERT INTO tasks (
    task_id, tenant, api_key_id, idempotency_key, request_id, request, model, bucket, gpu_seconds,
    ready, sequence, submitted_at, expires_at, deadline, priority, reserved, deterministic, fingerprint, webhook
) VALUES (
    :task_id, :tenant, :api_key_id, :idempotency_key, :request_id, :request, :model, :bucket, :gpu_seconds,
    :ready, :sequence, store_now(), store_now() + :ttl_seconds,
    CASE WHEN :deadline_seconds > 0.0 THEN store_now() + :deadline_seconds ELSE 0.0 END,
    :priority, :reserved, :deterministic, :fingerprint, :webhook
)
ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING;

-- name: task
SELECT * FROM task_rows WHERE task_id = :task_id AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant);

-- name: list_tasks
SELECT * FROM task_rows
WHERE tenant = :tenant
    AND (CAST(:task_id AS TEXT) IS NULL OR task_id = :task_id)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:state AS TEXT) IS NULL OR state = :state)
    AND (CAST(:start AS DOUBLE PRECISION) IS NULL OR submitted_at >= :start)
    AND (CAST(:end AS DOUBLE PRECISION) IS NULL OR submitted_at <= :end)
ORDER BY submitted_at DESC, number DESC
LIMIT :limit OFFSET :offset;

-- name: count_tasks
SELECT count(*) AS total FROM tasks
WHERE tenant = :tenant
    AND (CAST(:task_id AS TEXT) IS NULL OR task_id = :task_id)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:state AS TEXT) IS NULL OR state = :state)
    AND (CAST(:start AS DOUBLE PRECISION) IS NULL OR submitted_at >= :start)
    AND (CAST(:end AS DOUBLE PRECISION) IS NULL OR submitted_at <= :end);

-- name: request_cancel
UPDATE tasks SET cancel_requested = 1 WHERE task_id = :task_id;

-- name: queue_position
SELECT (
    SELECT count(*) FROM tasks AS other
    WHERE other.state = 'PENDING' AND other.ready = 1
        AND (other.submitted_at, other.number) < (this.submitted_at, this.number)
) AS position
FROM tasks AS this
WHERE this.task_id = :task_id AND this.state = 'PENDING';

-- name: depth
SELECT state, count(*) AS tasks, coalesce(sum(gpu_seconds), 0.0) AS gpu_seconds
FROM tasks WHERE state IN ('PENDING', 'RUNNING') GROUP BY state;

-- media intake

-- name: claim_media
INSERT INTO media_claims (task_id, owner, lease_until) VALUES (:task_id, :owner, store_now() + :lease_seconds)
ON CONFLICT (task_id) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
WHERE media_claims.lease_until <= store_now();

-- name: media_task
SELECT task_rows.* FROM task_rows JOIN media_claims ON media_claims.task_id = task_rows.task_id
WHERE media_claims.task_id = :task_id AND media_claims.owner = :owner;

-- name: media_ready
UPDATE tasks SET
    ready = 1, sequence = :sequence, request = :request, model = :model, bucket = :bucket, gpu_seconds = :gpu_seconds,
    deterministic = :deterministic
WHERE task_id = :task_id;

-- name: drop_media_claim
DELETE FROM media_claims WHERE task_id = :task_id;

-- router

-- name: queued
SELECT task_id, bucket, submitted_at, gpu_seconds, tenant, sequence, deadline, priority, reserved, deterministic
FROM tasks WHERE state = 'PENDING' AND ready = 1 AND sequence > :after_sequence
ORDER BY sequence;

-- name: last_sequence
SELECT last FROM sequence;

-- name: drop_expired
DELETE FROM tasks WHERE task_id IN (
    SELECT task_id FROM tasks
    WHERE expires_at <= store_now() AND state IN ('SUCCEEDED', 'FAILED', 'CANCELED')
    ORDER BY expires_at, number
    LIMIT :limit
)
RETURNING task_id, tenant;

-- name: costs
SELECT name, value FROM costs ORDER BY name;

-- name: save_cost
INSERT INTO costs (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: demand
SELECT
    (SELECT count(*) FROM tasks WHERE state = 'PENDING') AS queued,
    (SELECT coalesce(sum(gpu_seconds), 0.0) FROM tasks WHERE state = 'PENDING') AS queued_gpu_seconds,
    (SELECT count(*) FROM tasks WHERE state = 'RUNNING') AS running,
    (
        SELECT coalesce(sum(tasks.gpu_seconds * (1.0 - leases.progress)), 0.0)
        FROM leases JOIN tasks ON tasks.task_id = leases.task_id
    ) AS remaining_gpu_seconds,
    (
        -- There is no index on the time of submit alone: the newest rows are looked at, some minutes' worth at least.
        SELECT coalesce(sum(gpu_seconds), 0.0) FROM tasks
        WHERE number > (SELECT max(number) FROM tasks) - 20000
            AND submitted_at > store_now() - :window_seconds
            AND (state = 'PENDING' OR started_at IS NOT NULL)
    ) AS arrived_gpu_seconds;

-- engines

-- name: held_task
SELECT * FROM task_rows
WHERE task_id = :task_id AND state = 'RUNNING' AND owner = :owner AND fence = :fence AND attempt = :fence;

-- name: drop_lease
DELETE FROM leases WHERE task_id = :task_id;

-- name: count_fault
UPDATE tasks SET faults = faults + 1, error_message = :fault WHERE task_id = :task_id;

-- name: requeue
UPDATE tasks SET state = 'PENDING', sequence = :sequence, started_at = NULL WHERE task_id = :task_id;

-- name: end_task
UPDATE tasks SET
    state = :state,
    sequence = NULL,
    ended_at = greatest(store_now(), submitted_at),
    error_code = :error_code,
    error_message = :error_message,
    artifact_key = :artifact_key,
    artifact_sha256 = :artifact_sha256,
    artifact_bytes = :artifact_bytes,
    notice = :notice,
    stages = :stages,
    facts = :facts
WHERE task_id = :task_id;

-- heartbeats and drain

-- name: heartbeat
INSERT INTO engines (engine_id, world_size, preset, state, updated_at, detail, cluster)
VALUES (:engine_id, :world_size, :preset, :state, store_now(), :detail, :cluster)
ON CONFLICT (engine_id) DO UPDATE SET
    world_size = excluded.world_size, preset = excluded.preset, state = excluded.state,
    updated_at = excluded.updated_at, detail = excluded.detail, cluster = excluded.cluster;

-- name: engines
SELECT engine_id, world_size, preset, state, updated_at, detail FROM engines
WHERE cluster = :cluster AND updated_at >= store_now() - :fresh_seconds
ORDER BY engine_id;

-- name: drop_old_engines
DELETE FROM engines WHERE updated_at < store_now() - :old_seconds;

-- name: drain_deadline
SELECT deadline FROM drain WHERE cluster = :cluster;

-- name: set_drain
INSERT INTO drain (cluster, deadline) VALUES (:cluster, store_now() + :seconds)
ON CONFLICT (cluster) DO UPDATE SET deadline = excluded.deadline;

-- name: end_drain
DELETE FROM drain WHERE cluster = :cluster;

-- metrics

-- name: insert_event
INSERT INTO events (task_id, resolution, duration, mode, outcome, clip_milliseconds, stages)
VALUES (:task_id, :resolution, :duration, :mode, :outcome, :clip_milliseconds, :stages);

-- name: rollup
SELECT metric, labels, counts, sum_microseconds FROM rollup;

-- name: save_rollup
INSERT INTO rollup (metric, labels, counts, sum_microseconds)
VALUES (:metric, :labels, :counts, :sum_microseconds)
ON CONFLICT (metric, labels) DO UPDATE SET counts = excluded.counts, sum_microseconds = excluded.sum_microseconds;

-- name: move_watermark
UPDATE watermark SET event_id = :event_id;
