-- What PostgreSQL says in its own way: rows are locked where a decision is made about them, and what somebody else has
-- locked is passed over by those who only look for work.

-- A counter row, not a SEQUENCE: its lock is held to the commit, so that numbers become visible in their order and a
-- reader who remembers the last one misses none. The notice goes out with the commit.
-- name: next_sequence
UPDATE sequence SET last = last + 1 RETURNING last, pg_notify('hhray_work', '');

-- name: lock_task
SELECT 1 AS locked FROM tasks WHERE task_id = :task_id FOR UPDATE;

-- name: tasks_by_id
SELECT * FROM task_rows WHERE task_id = ANY(CAST(:task_ids AS TEXT[]));

-- name: media_candidate
SELECT tasks.task_id
FROM tasks LEFT JOIN media_claims ON media_claims.task_id = tasks.task_id
WHERE tasks.state = 'PENDING' AND tasks.ready = 0
    AND (CAST(:task_id AS TEXT) IS NULL OR tasks.task_id = :task_id)
    AND (media_claims.lease_until IS NULL OR media_claims.lease_until <= store_now())
ORDER BY tasks.submitted_at, tasks.number
LIMIT 1
FOR UPDATE OF tasks SKIP LOCKED;

-- Both rows are locked: a renewal that comes first takes the lease out of this list, one that comes later finds none.
-- name: leases_over
SELECT leases.task_id
FROM leases JOIN tasks ON tasks.task_id = leases.task_id
WHERE leases.lease_until <= store_now()
ORDER BY leases.lease_until, leases.task_id
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: expired_pending
SELECT task_id FROM tasks WHERE expires_at <= store_now() AND state = 'PENDING'
ORDER BY expires_at, number LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: oldest_bucket
SELECT bucket FROM tasks WHERE state = 'PENDING' AND ready = 1 ORDER BY submitted_at, number LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: oldest_of_bucket
SELECT task_id FROM tasks
WHERE state = 'PENDING' AND ready = 1 AND bucket = :bucket
ORDER BY submitted_at, number
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: claim_tasks
UPDATE tasks SET
    state = 'RUNNING',
    sequence = NULL,
    attempt = attempt + 1,
    scheduled_at = coalesce(scheduled_at, greatest(store_now(), submitted_at)),
    started_at = greatest(store_now(), submitted_at)
WHERE state = 'PENDING' AND ready = 1 AND task_id IN (
    SELECT task_id FROM tasks
    WHERE task_id = ANY(CAST(:task_ids AS TEXT[])) AND state = 'PENDING' AND ready = 1
    FOR UPDATE SKIP LOCKED
)
RETURNING task_id;

-- name: insert_leases
INSERT INTO leases (task_id, owner, fence, lease_until)
SELECT task_id, :owner, attempt, store_now() + :lease_seconds
FROM tasks WHERE task_id = ANY(CAST(:task_ids AS TEXT[]));

-- name: renew
UPDATE leases SET
    lease_until = store_now() + :lease_seconds,
    progress = given.progress,
    stage = given.stage
FROM unnest(CAST(:task_ids AS TEXT[]), CAST(:fractions AS DOUBLE PRECISION[]), CAST(:stages AS TEXT[]))
    AS given (task_id, progress, stage)
    JOIN tasks ON tasks.task_id = given.task_id
WHERE leases.task_id = given.task_id AND leases.owner = :owner
RETURNING leases.task_id, tasks.cancel_requested;

-- One process folds at a time: this row's lock says which.
-- name: take_watermark
SELECT event_id FROM watermark FOR UPDATE;

-- Not by the watermark: ids are given out before the commit, so a smaller one may become visible later.
-- name: new_events
SELECT * FROM events ORDER BY event_id;

-- name: drop_folded
DELETE FROM events WHERE event_id = ANY(CAST(:event_ids AS BIGINT[]));

-- name: open_upload
SELECT * FROM uploads WHERE upload_id = :upload_id AND sha256 = ''
FOR UPDATE;

-- name: claim_webhooks
UPDATE webhook_deliveries SET
    attempts = attempts + 1, tries = tries + 1, lease_until = store_now() + :lease_seconds
WHERE delivery_id IN (
    SELECT delivery_id FROM webhook_deliveries
    WHERE delivery_id = ANY(CAST(:delivery_ids AS TEXT[])) AND state = 'WAITING' AND lease_until <= store_now()
    FOR UPDATE SKIP LOCKED
)
RETURNING *, store_now() - began_at AS waited_seconds;

-- tenants

-- Locks are always taken in one order: tasks, the sequence, tenants by name. A transaction that requeues some tasks and
-- ends others takes the last two before it begins.
-- name: lock_before_many
SELECT last FROM sequence FOR UPDATE;

-- name: lock_tenants
SELECT tenant FROM tenant_counters WHERE tenant = ANY(CAST(:tenants AS TEXT[])) ORDER BY tenant FOR UPDATE;

-- name: tasks_to_forget
SELECT task_id FROM tasks WHERE tenant = :tenant ORDER BY submitted_at, number LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: drop_tasks
DELETE FROM tasks WHERE task_id = ANY(CAST(:task_ids AS TEXT[]));
