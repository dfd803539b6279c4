-- Every statement of the SQLite store. now() is the time the transaction began; max(now(), submitted_at) keeps a
-- clock that was set back from making negative durations.

-- clients

-- name: next_sequence
UPDATE sequence SET last = last + 1 RETURNING last;

-- name: task_by_key
SELECT * FROM task_rows WHERE tenant = :tenant AND idempotency_key = :idempotency_key;

-- name: insert_task
INSERT INTO tasks (
    task_id, tenant, api_key_id, idempotency_key, request_id, request, model, bucket, gpu_seconds,
    ready, sequence, submitted_at, expires_at
) VALUES (
    :task_id, :tenant, :api_key_id, :idempotency_key, :request_id, :request, :model, :bucket, :gpu_seconds,
    :ready, :sequence, now(), now() + :ttl_seconds
);

-- name: task
SELECT * FROM task_rows WHERE task_id = :task_id AND (:tenant IS NULL OR tenant = :tenant);

-- name: list_tasks
SELECT * FROM task_rows
WHERE tenant = :tenant
    AND (:task_id IS NULL OR task_id = :task_id)
    AND (:model IS NULL OR model = :model)
    AND (:state IS NULL OR state = :state)
    AND (:start IS NULL OR submitted_at >= :start)
    AND (:end IS NULL OR submitted_at <= :end)
ORDER BY submitted_at DESC, number DESC
LIMIT :limit OFFSET :offset;

-- name: count_tasks
SELECT count(*) AS total FROM tasks
WHERE tenant = :tenant
    AND (:task_id IS NULL OR task_id = :task_id)
    AND (:model IS NULL OR model = :model)
    AND (:state IS NULL OR state = :state)
    AND (:start IS NULL OR submitted_at >= :start)
    AND (:end IS NULL OR submitted_at <= :end);

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
SELECT state, count(*) AS tasks, total(gpu_seconds) AS gpu_seconds
FROM tasks WHERE state IN ('PENDING', 'RUNNING') GROUP BY state;

-- media intake

-- name: media_candidate
SELECT tasks.task_id
FROM tasks LEFT JOIN media_claims ON media_claims.task_id = tasks.task_id
WHERE tasks.state = 'PENDING' AND tasks.ready = 0
    AND (:task_id IS NULL OR tasks.task_id = :task_id)
    AND (media_claims.lease_until IS NULL OR media_claims.lease_until <= now())
ORDER BY tasks.submitted_at, tasks.number
LIMIT 1;

-- name: claim_media
INSERT OR REPLACE INTO media_claims (task_id, owner, lease_until) VALUES (:task_id, :owner, now() + :lease_seconds);

-- name: media_task
SELECT task_rows.* FROM task_rows JOIN media_claims ON media_claims.task_id = task_rows.task_id
WHERE media_claims.task_id = :task_id AND media_claims.owner = :owner;

-- name: media_ready
UPDATE tasks SET
    ready = 1, sequence = :sequence, request = :request, model = :model, bucket = :bucket, gpu_seconds = :gpu_seconds
WHERE task_id = :task_id;

-- name: drop_media_claim
DELETE FROM media_claims WHERE task_id = :task_id;

-- router

-- name: queued
SELECT task_id, bucket, submitted_at, gpu_seconds, tenant, sequence
FROM tasks WHERE state = 'PENDING' AND ready = 1 AND sequence > :after_sequence
ORDER BY sequence;

-- name: leases_over
SELECT task_rows.* FROM leases JOIN task_rows ON task_rows.task_id = leases.task_id
WHERE leases.lease_until <= now()
ORDER BY leases.lease_until;

-- name: drop_expired
DELETE FROM tasks
WHERE expires_at <= now() AND state IN ('SUCCEEDED', 'FAILED', 'CANCELED')
RETURNING task_id;

-- name: expired_pending
SELECT * FROM task_rows WHERE expires_at <= now() AND state = 'PENDING';

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
            AND submitted_at > now() - :window_seconds
            AND (state = 'PENDING' OR started_at IS NOT NULL)
    ) AS arrived_gpu_seconds;

-- engines

-- name: claim_task
UPDATE tasks SET
    state = 'RUNNING',
    sequence = NULL,
    attempt = attempt + 1,
    scheduled_at = coalesce(scheduled_at, max(now(), submitted_at)),
    started_at = max(now(), submitted_at)
WHERE task_id = :task_id AND state = 'PENDING' AND ready = 1
RETURNING attempt;

-- name: insert_lease
INSERT INTO leases (task_id, owner, fence, lease_until) VALUES (:task_id, :owner, :fence, now() + :lease_seconds);

-- name: oldest_bucket
SELECT bucket FROM tasks WHERE state = 'PENDING' AND ready = 1 ORDER BY submitted_at, number LIMIT 1;

-- name: oldest_of_bucket
SELECT task_id FROM tasks
WHERE state = 'PENDING' AND ready = 1 AND bucket = :bucket
ORDER BY submitted_at, number
LIMIT :limit;

-- name: renew
UPDATE leases SET lease_until = now() + :lease_seconds, progress = :progress, stage = :stage
WHERE task_id = :task_id AND owner = :owner;

-- name: cancel_requested
SELECT cancel_requested FROM tasks WHERE task_id = :task_id;

-- name: held_task
SELECT * FROM task_rows WHERE task_id = :task_id AND state = 'RUNNING' AND owner = :owner AND fence = :fence;

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
    ended_at = max(now(), submitted_at),
    error_code = :error_code,
    error_message = :error_message,
    artifact_key = :artifact_key,
    artifact_sha256 = :artifact_sha256,
    artifact_bytes = :artifact_bytes,
    notice = :notice,
    stages = :stages
WHERE task_id = :task_id;

-- heartbeats and drain

-- name: heartbeat
INSERT OR REPLACE INTO engines (engine_id, world_size, preset, state, updated_at, detail)
VALUES (:engine_id, :world_size, :preset, :state, now(), :detail);

-- name: engines
SELECT * FROM engines WHERE updated_at >= now() - :fresh_seconds ORDER BY engine_id;

-- name: drop_old_engines
DELETE FROM engines WHERE updated_at < now() - :old_seconds;

-- name: drain_deadline
SELECT deadline FROM drain;

-- name: set_drain
UPDATE drain SET deadline = now() + :seconds;

-- metrics

-- name: insert_event
INSERT INTO events (task_id, resolution, duration, mode, outcome, clip_milliseconds, stages)
VALUES (:task_id, :resolution, :duration, :mode, :outcome, :clip_milliseconds, :stages);

-- name: new_events
SELECT * FROM events WHERE event_id > (SELECT event_id FROM watermark) ORDER BY event_id;

-- name: rollup
SELECT * FROM rollup;

-- name: save_rollup
INSERT OR REPLACE INTO rollup (metric, labels, counts, sum_microseconds)
VALUES (:metric, :labels, :counts, :sum_microseconds);

-- name: move_watermark
UPDATE watermark SET event_id = :event_id;

-- name: drop_folded
DELETE FROM events WHERE event_id <= (SELECT event_id FROM watermark);
