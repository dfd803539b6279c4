-- Version 7: a running task that its client deleted; nobody sees it any more, and it goes when it has ended.
ALTER TABLE tasks ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
