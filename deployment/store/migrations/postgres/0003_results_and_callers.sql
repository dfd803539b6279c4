-- Version 3: what a create was made of, whom to tell of its end, and facts about its result.
ALTER TABLE tasks
    ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '',  -- of the create's body, beside its idempotency key
    ADD COLUMN webhook TEXT NOT NULL DEFAULT '',      -- URL that is told of the task's end
    ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';      -- JSON object of strings: layout, weights, marking

DROP VIEW task_rows;
CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;
