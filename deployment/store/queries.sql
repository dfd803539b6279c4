-- The statements that all SQL databases share. store_now() is the time the transaction began, in seconds since the
-- epoch; greatest(store_now(), submitted_at) keeps a clock that was set back from making negative durations. A cast
-- tells PostgreSQL the type of a parameter that may be NULL.

-- clients

-- name: insert_task
INSERT INTO tasks (
    task_id, tenant, api_key_id, idempotency_key, request_id, request, model, bucket, gpu_seconds,
    ready, sequence, submitted_at, expires_at, deadline, priority, reserved, deterministic, fingerprint, webhook,
    keep_prompt
) VALUES (
    :task_id, :tenant, :api_key_id, :idempotency_key, :request_id, :request, :model, :bucket, :gpu_seconds,
    :ready, :sequence, store_now(), store_now() + :ttl_seconds,
    CASE WHEN :deadline_seconds > 0.0 THEN store_now() + :deadline_seconds ELSE 0.0 END,
    :priority, :reserved, :deterministic, :fingerprint, :webhook, :keep_prompt
);

-- name: task
SELECT * FROM task_rows
WHERE task_id = :task_id AND (CAST(:tenant AS TEXT) IS NULL OR (tenant = :tenant AND deleted = 0));

-- name: list_tasks
SELECT * FROM task_rows
WHERE tenant = :tenant AND deleted = 0
    AND (CAST(:task_id AS TEXT) IS NULL OR task_id = :task_id)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:state AS TEXT) IS NULL OR state = :state)
    AND (CAST(:start AS DOUBLE PRECISION) IS NULL OR submitted_at >= :start)
    AND (CAST(:end AS DOUBLE PRECISION) IS NULL OR submitted_at <= :end)
ORDER BY submitted_at DESC, number DESC
LIMIT :limit OFFSET :offset;

-- name: count_tasks
SELECT count(*) AS total FROM tasks
WHERE tenant = :tenant AND deleted = 0
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

-- keys of creates

-- name: take_create_key
INSERT INTO create_keys (tenant, name, task_id, fingerprint, expires_at)
VALUES (:tenant, :name, :task_id, :fingerprint, store_now() + :life_seconds)
ON CONFLICT (tenant, name) DO UPDATE SET
    task_id = excluded.task_id, fingerprint = excluded.fingerprint, expires_at = excluded.expires_at
WHERE create_keys.expires_at <= store_now();

-- name: create_key
SELECT task_id, fingerprint FROM create_keys
WHERE tenant = :tenant AND name = :name AND expires_at > store_now();

-- The row as it is, locked; one that nobody waits for where there was none.
-- name: open_repost
INSERT INTO create_keys (tenant, name, task_id, fingerprint, expires_at)
VALUES (:tenant, :name, '', '', store_now())
ON CONFLICT (tenant, name) DO UPDATE SET fingerprint = ''
RETURNING task_id, CASE WHEN expires_at > store_now() THEN 1 ELSE 0 END AS live;

-- name: name_repost
UPDATE create_keys SET task_id = :task_id WHERE tenant = :tenant AND name = :name;

-- name: note_repost
INSERT INTO create_keys (tenant, name, task_id, fingerprint, expires_at)
VALUES (:tenant, :name, :task_id, '', store_now() + :life_seconds)
ON CONFLICT (tenant, name) DO UPDATE SET task_id = excluded.task_id, expires_at = excluded.expires_at;

-- name: drop_create_keys
DELETE FROM create_keys WHERE (tenant, name) IN (
    SELECT tenant, name FROM create_keys WHERE expires_at <= store_now() ORDER BY expires_at, tenant, name LIMIT :limit
);

-- uploads

-- name: insert_upload
INSERT INTO uploads (upload_id, tenant, model, object_key, num_bytes, sha256, expires_at)
VALUES (:upload_id, :tenant, :model, :object_key, :num_bytes, '', store_now() + :hold_seconds)
ON CONFLICT (tenant, object_key) DO NOTHING;

-- name: take_upload_room
INSERT INTO upload_totals (tenant, num_bytes) VALUES (:tenant, :num_bytes)
ON CONFLICT (tenant) DO UPDATE SET num_bytes = upload_totals.num_bytes + excluded.num_bytes
WHERE upload_totals.num_bytes + excluded.num_bytes <= :most_bytes;

-- name: give_upload_room
UPDATE upload_totals SET num_bytes = num_bytes - :num_bytes WHERE tenant = :tenant;

-- name: finish_upload
UPDATE uploads SET num_bytes = :num_bytes, sha256 = :sha256, expires_at = store_now() + :ttl_seconds
WHERE upload_id = :upload_id AND sha256 = '';

-- name: upload
SELECT * FROM uploads
WHERE tenant = :tenant AND object_key = :object_key AND sha256 <> '' AND expires_at > store_now();

-- name: upload_row
SELECT upload_id FROM uploads WHERE upload_id = :upload_id;

-- name: drop_upload
DELETE FROM uploads WHERE upload_id = :upload_id RETURNING upload_id, tenant, num_bytes;

-- name: drop_expired_uploads
DELETE FROM uploads WHERE upload_id IN (
    SELECT upload_id FROM uploads WHERE expires_at <= store_now() ORDER BY expires_at, upload_id LIMIT :limit
)
RETURNING upload_id, tenant, num_bytes;

-- name: drop_uploads_of
DELETE FROM uploads WHERE tenant = :tenant RETURNING upload_id;

-- name: drop_upload_total
DELETE FROM upload_totals WHERE tenant = :tenant;

-- name: drop_create_keys_of
DELETE FROM create_keys WHERE tenant = :tenant;

-- name: upload_total
SELECT coalesce(sum(num_bytes), 0) AS num_bytes FROM upload_totals WHERE tenant = :tenant;

-- webhooks

-- name: insert_webhook
INSERT INTO webhook_deliveries (delivery_id, task_id, tenant, receiver, url, body, created_at, began_at, due_at)
VALUES (:delivery_id, :task_id, :tenant, :receiver, :url, :body, store_now(), store_now(), store_now())
ON CONFLICT (delivery_id) DO NOTHING;

-- What is being sent comes first in each line, so that it counts towards the line's cap, whichever process sends it.
-- name: webhook_candidates
SELECT delivery_id FROM (
    SELECT delivery_id, due_at, lease_until, row_number() OVER (
        PARTITION BY tenant ORDER BY lease_until <= store_now(), due_at, delivery_id
    ) AS tenant_place
    FROM (
        SELECT delivery_id, tenant, due_at, lease_until, row_number() OVER (
            PARTITION BY tenant, receiver ORDER BY lease_until <= store_now(), due_at, delivery_id
        ) AS receiver_place
        FROM webhook_deliveries WHERE state = 'WAITING' AND due_at <= store_now()
    ) AS by_receiver
    WHERE receiver_place <= :per_receiver
) AS by_tenant
WHERE tenant_place <= :per_tenant AND lease_until <= store_now()
ORDER BY due_at, delivery_id
LIMIT :limit;

-- name: webhook_answered
UPDATE webhook_deliveries SET
    state = :state,
    lease_until = 0.0,
    due_at = store_now() + :wait_seconds,
    ended_at = CASE WHEN CAST(:state AS TEXT) = 'WAITING' THEN NULL ELSE store_now() END,
    last_status = :status
WHERE delivery_id = :delivery_id AND attempts = :fence AND state = 'WAITING';

-- name: insert_webhook_attempt
INSERT INTO webhook_attempts (delivery_id, attempt, at, seconds, status, detail)
VALUES (:delivery_id, :attempt, store_now(), :seconds, :status, :detail);

-- name: webhooks
SELECT * FROM webhook_deliveries
WHERE (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant)
    AND (CAST(:task_id AS TEXT) IS NULL OR task_id = :task_id)
    AND (CAST(:state AS TEXT) IS NULL OR state = :state)
ORDER BY created_at DESC, delivery_id
LIMIT :limit;

-- name: webhook_attempts
SELECT attempt, at, seconds, status, detail FROM webhook_attempts WHERE delivery_id = :delivery_id ORDER BY attempt;

-- name: redeliver_webhook
UPDATE webhook_deliveries SET
    state = 'WAITING', tries = 0, began_at = store_now(), due_at = store_now(), ended_at = NULL
WHERE delivery_id = :delivery_id
    AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant)
    AND lease_until <= store_now();

-- name: drop_webhook_attempts
DELETE FROM webhook_attempts WHERE delivery_id IN (
    SELECT delivery_id FROM webhook_deliveries
    WHERE began_at <= store_now() - :keep_seconds AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant)
);

-- name: drop_webhooks
DELETE FROM webhook_deliveries
WHERE began_at <= store_now() - :keep_seconds AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant);

-- tenants: quotas, usage, audit

-- One statement checks every limit and takes what the task takes: no two creates can both have the last place. The
-- first task of a tenant is checked by itself before (hhray.quotas.check_fits).
-- name: admit
INSERT INTO tenant_counters (tenant, next_create_at, unfinished, day, gpu_ms, month, video_ms)
VALUES (
    :tenant, store_now() + :interval, 1, utc_day(store_now()), :gpu_ms, utc_month(store_now()), :video_ms
)
ON CONFLICT (tenant) DO UPDATE SET
    next_create_at = greatest(tenant_counters.next_create_at, store_now()) + :interval,
    unfinished = tenant_counters.unfinished + 1,
    day = excluded.day,
    gpu_ms = CASE WHEN tenant_counters.day = excluded.day THEN tenant_counters.gpu_ms ELSE 0 END + :gpu_ms,
    month = excluded.month,
    video_ms = CASE WHEN tenant_counters.month = excluded.month THEN tenant_counters.video_ms ELSE 0 END + :video_ms
WHERE (:interval = 0.0 OR tenant_counters.next_create_at - :tolerance <= store_now())
    AND (:most_unfinished = 0 OR tenant_counters.unfinished < :most_unfinished)
    AND (
        :most_gpu_ms = 0
        OR CASE WHEN tenant_counters.day = excluded.day THEN tenant_counters.gpu_ms ELSE 0 END + :gpu_ms <= :most_gpu_ms
    )
    AND (
        :most_video_ms = 0
        OR CASE WHEN tenant_counters.month = excluded.month THEN tenant_counters.video_ms ELSE 0 END + :video_ms
            <= :most_video_ms
    );

-- name: quota_use
SELECT
    store_now() AS now, next_create_at, unfinished,
    CASE WHEN day = utc_day(store_now()) THEN gpu_ms ELSE 0 END AS gpu_ms,
    CASE WHEN month = utc_month(store_now()) THEN video_ms ELSE 0 END AS video_ms,
    (SELECT count(*) FROM tasks WHERE state = 'RUNNING' AND tasks.tenant = tenant_counters.tenant) AS running
FROM tenant_counters WHERE tenant = :tenant;

-- name: time
SELECT store_now() AS now;

-- What was charged to another day or month than the present one has gone with it.
-- name: correct_charge
UPDATE tenant_counters SET
    unfinished = unfinished - :finished,
    gpu_ms = greatest(0, gpu_ms + CASE WHEN day = :day THEN :gpu_ms ELSE 0 END),
    video_ms = greatest(0, video_ms + CASE WHEN month = :month THEN :video_ms ELSE 0 END)
WHERE tenant = :tenant;

-- name: blank_prompt
UPDATE tasks SET request = :request WHERE task_id = :task_id;

-- name: count_usage
INSERT INTO usage_days (tenant, day, model, resolution, mode, clips, failures, cancels, video_ms, gpu_ms)
VALUES (:tenant, :day, :model, :resolution, :mode, :clips, :failures, :cancels, :video_ms, :gpu_ms)
ON CONFLICT (tenant, day, model, resolution, mode) DO UPDATE SET
    clips = usage_days.clips + excluded.clips,
    failures = usage_days.failures + excluded.failures,
    cancels = usage_days.cancels + excluded.cancels,
    video_ms = usage_days.video_ms + excluded.video_ms,
    gpu_ms = usage_days.gpu_ms + excluded.gpu_ms;

-- name: usage
SELECT * FROM usage_days
WHERE day >= :first_day AND day <= :last_day AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant)
ORDER BY day, tenant, model, resolution, mode;

-- name: insert_audit
INSERT INTO audit (
    at, what, tenant, key_id, task_id, prompt_hash, model, seed, weights, layout, result, code
) VALUES (
    store_now(), :what, :tenant, :key_id, :task_id, :prompt_hash, :model, :seed, :weights, :layout, :result, :code
);

-- name: audit
SELECT * FROM audit
WHERE audit_id > :after AND at >= :start AND (CAST(:tenant AS TEXT) IS NULL OR tenant = :tenant)
ORDER BY audit_id LIMIT :limit;

-- The triggers allow what is older than `keep_after` to go, inside the one transaction that sets it.
-- name: open_audit
UPDATE audit_retention SET keep_after = :keep_after;

-- name: drop_audit
DELETE FROM audit WHERE at < :keep_after;

-- name: has_tasks
SELECT task_id FROM tasks WHERE tenant = :tenant LIMIT 1;

-- videos: delete, pages by cursor, and what an estimate is made from

-- name: delete_task
DELETE FROM tasks WHERE task_id = :task_id;

-- A deleted task takes its key along: the same create makes a new one.
-- name: free_create_key
DELETE FROM create_keys WHERE task_id = :task_id AND (tenant, name) IN (
    SELECT tenant, idempotency_key FROM tasks WHERE task_id = :task_id AND idempotency_key IS NOT NULL
);

-- name: hide_running
UPDATE tasks SET deleted = 1, cancel_requested = 1, idempotency_key = NULL, expires_at = store_now()
WHERE task_id = :task_id;

-- name: page_newest
SELECT * FROM task_rows
WHERE tenant = :tenant AND deleted = 0 AND (
    CAST(:after AS TEXT) IS NULL
    OR (submitted_at, number) < (
        SELECT seen.submitted_at, seen.number FROM tasks AS seen WHERE seen.task_id = :after AND seen.tenant = :tenant
    )
)
ORDER BY submitted_at DESC, number DESC
LIMIT :limit;

-- name: page_oldest
SELECT * FROM task_rows
WHERE tenant = :tenant AND deleted = 0 AND (
    CAST(:after AS TEXT) IS NULL
    OR (submitted_at, number) > (
        SELECT seen.submitted_at, seen.number FROM tasks AS seen WHERE seen.task_id = :after AND seen.tenant = :tenant
    )
)
ORDER BY submitted_at, number
LIMIT :limit;

-- name: waiting_order
SELECT task_id, tenant, priority, gpu_seconds FROM tasks
WHERE state = 'PENDING' AND ready = 1
ORDER BY submitted_at, number;

-- name: running_left
SELECT coalesce(sum(tasks.gpu_seconds * (1.0 - leases.progress)), 0.0) AS gpu_seconds
FROM leases JOIN tasks ON tasks.task_id = leases.task_id;
