-- Queue entries that a worker has taken, until its task is seen to run: a worker may die between the two.
CREATE TABLE handed_out (
    task TEXT PRIMARY KEY,
    queue TEXT NOT NULL,
    added TEXT NOT NULL,
    time TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX handed_out_time ON handed_out (time);
