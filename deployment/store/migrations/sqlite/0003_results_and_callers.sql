-- Version 3: what a create was made of, whom to tell of its end, and facts about its result.
ALTER TABLE tasks ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';  -- of the create's body, beside its idempotency key
ALTER TABLE tasks ADD COLUMN webhook TEXT NOT NULL DEFAULT '';      -- URL that is told of the task's end
ALTER TABLE tasks ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';      -- JSON object of strings: layout, weights, marking
