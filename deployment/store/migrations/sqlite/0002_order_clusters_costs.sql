-- Version 2: what the scheduler orders tasks by, a drain per cluster, learned costs.
ALTER TABLE tasks ADD COLUMN deadline REAL NOT NULL DEFAULT 0.0;  -- seconds since the epoch; 0: the scheduler's default
ALTER TABLE tasks ADD COLUMN priority TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE tasks ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN deterministic INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET deterministic = coalesce(json_extract(request, '$.deterministic'), 0);

ALTER TABLE engines ADD COLUMN cluster TEXT NOT NULL DEFAULT 'main';

ALTER TABLE drain RENAME TO old_drain;
CREATE TABLE drain (
    cluster  TEXT PRIMARY KEY,
    deadline REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO drain (cluster, deadline) SELECT 'main', deadline FROM old_drain WHERE deadline IS NOT NULL;
DROP TABLE old_drain;

CREATE TABLE costs (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
