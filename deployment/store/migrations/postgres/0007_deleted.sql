-- Version 7: a running task that its client deleted; nobody sees it any more, and it goes when it has ended.
ALTER TABLE tasks ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;

DROP VIEW task_rows;
CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;
