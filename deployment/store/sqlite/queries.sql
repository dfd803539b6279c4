-- What SQLite says in its own way. A list comes as JSON text. Nothing here locks rows: a transaction that writes holds
-- the file's only write lock from its first moment.

-- name: next_sequence
UPDATE sequence SET last = last + 1 RETURNING last;

-- name: tasks_by_id
SELECT * FROM task_rows WHERE task_id IN (SELECT value FROM json_each(:task_ids));

-- name: media_candidate
SELECT tasks.task_id
FROM tasks LEFT JOIN media_claims ON media_claims.task_id = tasks.task_id
WHERE tasks.state = 'PENDING' AND tasks.ready = 0
    AND (:task_id IS NULL OR tasks.task_id = :task_id)
    AND (media_claims.lease_until IS NULL OR media_claims.lease_until <= store_now())
ORDER BY tasks.submitted_at, tasks.number
LIMIT 1;

-- name: leases_over
SELECT task_id FROM leases WHERE lease_until <= store_now() ORDER BY lease_until, task_id LIMIT :limit;

-- name: expired_pending
SELECT task_id FROM tasks WHERE expires_at <= store_now() AND state = 'PENDING'
ORDER BY expires_at, number LIMIT :limit;

-- name: oldest_bucket
SELECT bucket FROM tasks WHERE state = 'PENDING' AND ready = 1 ORDER BY submitted_at, number LIMIT 1;

-- name: oldest_of_bucket
SELECT task_id FROM tasks
WHERE state = 'PENDING' AND ready = 1 AND bucket = :bucket
ORDER BY submitted_at, number
LIMIT :limit;

-- name: claim_tasks
UPDATE tasks SET
    state = 'RUNNING',
    sequence = NULL,
    attempt = attempt + 1,
    scheduled_at = coalesce(scheduled_at, greatest(store_now(), submitted_at)),
    started_at = greatest(store_now(), submitted_at)
WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND state = 'PENDING' AND ready = 1
RETURNING task_id;

-- name: insert_leases
INSERT INTO leases (task_id, owner, fence, lease_until)
SELECT task_id, :owner, attempt, store_now() + :lease_seconds
FROM tasks WHERE task_id IN (SELECT value FROM json_each(:task_ids));

-- name: renew
UPDATE leases SET
    lease_until = store_now() + :lease_seconds,
    progress = json_extract(:fractions, '$[' || given.key || ']'),
    stage = json_extract(:stages, '$[' || given.key || ']')
FROM json_each(:task_ids) AS given
WHERE leases.task_id = given.value AND leases.owner = :owner
RETURNING task_id, (SELECT cancel_requested FROM tasks WHERE tasks.task_id = leases.task_id) AS cancel_requested;

-- name: take_watermark
SELECT event_id FROM watermark;

-- name: new_events
SELECT * FROM events WHERE event_id > (SELECT event_id FROM watermark) ORDER BY event_id;

-- name: drop_folded
DELETE FROM events WHERE event_id <= (SELECT event_id FROM watermark);

-- name: open_upload
SELECT * FROM uploads WHERE upload_id = :upload_id AND sha256 = '';

-- name: claim_webhooks
UPDATE webhook_deliveries SET
    attempts = attempts + 1, tries = tries + 1, lease_until = store_now() + :lease_seconds
WHERE delivery_id IN (SELECT value FROM json_each(:delivery_ids)) AND state = 'WAITING' AND lease_until <= store_now()
RETURNING *, store_now() - began_at AS waited_seconds;

-- tenants

-- name: lock_before_many
SELECT last FROM sequence;

-- name: lock_tenants
SELECT tenant FROM tenant_counters WHERE tenant IN (SELECT value FROM json_each(:tenants));

-- name: tasks_to_forget
SELECT task_id FROM tasks WHERE tenant = :tenant ORDER BY submitted_at, number LIMIT :limit;

-- name: drop_tasks
DELETE FROM tasks WHERE task_id IN (SELECT value FROM json_each(:task_ids));
