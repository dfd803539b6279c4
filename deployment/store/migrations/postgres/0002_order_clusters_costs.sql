-- Version 2: what the scheduler orders tasks by, a drain per cluster, learned costs.
ALTER TABLE tasks
    ADD COLUMN deadline DOUBLE PRECISION NOT NULL DEFAULT 0.0,
    ADD COLUMN priority TEXT NOT NULL DEFAULT 'standard',
    ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN deterministic INTEGER NOT NULL DEFAULT 0;
-- as text: a prompt may hold \u0000, which PostgreSQL's JSON functions refuse; no quote inside a prompt goes unescaped
UPDATE tasks SET deterministic = 1 WHERE request LIKE '%"deterministic":true%';

DROP VIEW task_rows;
CREATE VIEW task_rows AS
SELECT tasks.*, leases.owner, leases.fence, leases.progress, leases.stage
FROM tasks LEFT JOIN leases ON leases.task_id = tasks.task_id;

ALTER TABLE engines ADD COLUMN cluster TEXT COLLATE "C" NOT NULL DEFAULT 'main';

ALTER TABLE drain RENAME TO old_drain;
CREATE TABLE drain (
    cluster  TEXT COLLATE "C" PRIMARY KEY,
    deadline DOUBLE PRECISION NOT NULL
);
INSERT INTO drain (cluster, deadline) SELECT 'main', deadline FROM old_drain WHERE deadline IS NOT NULL;
DROP TABLE old_drain;

CREATE TABLE costs (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
