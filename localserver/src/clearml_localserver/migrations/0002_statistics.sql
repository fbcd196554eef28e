-- What workers report of their machines, and how long tasks waited in queues. Both are kept for a week.
CREATE TABLE worker_statistic (worker TEXT NOT NULL, time REAL NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX worker_statistic_time ON worker_statistic (worker, metric, time);
CREATE TABLE queue_wait (queue TEXT NOT NULL, time REAL NOT NULL, waited REAL NOT NULL, length INTEGER NOT NULL);
CREATE INDEX queue_wait_time ON queue_wait (queue, time);
