-- Of a shape that fits again only the first come back, so they are found in claim order.
DROP INDEX live_tasks_blocked;
CREATE INDEX live_tasks_blocked ON live_tasks (shape, precedence, run_at, created_at, task_id) WHERE blocked;
