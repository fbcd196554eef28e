-- Events of tasks and models: scalars, plots, debug images, vectors, console lines.
-- A series is one (owner, type, metric, variant); its names, and the fields that its sender repeats in every event
-- (worker, client version), are kept once. A row's `extra` is NULL where it equals its series' `common`.
CREATE TABLE event_series (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    metric TEXT NOT NULL,
    variant TEXT NOT NULL,
    common TEXT NOT NULL,
    UNIQUE (owner, type, metric, variant)
);

-- One scalar point; reporting an iteration again overwrites it.
CREATE TABLE event_scalar (
    series INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    received INTEGER NOT NULL,
    value REAL,
    extra TEXT,
    PRIMARY KEY (series, iter)
) WITHOUT ROWID;

-- One plot, debug image or vector; `content` is the plot's JSON, the image's address or the vector's numbers as JSON.
-- Images of one iteration differ by `key`; for the others it is empty.
CREATE TABLE event_sample (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    key TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    received INTEGER NOT NULL,
    content TEXT,
    extra TEXT,
    UNIQUE (series, iter, key)
);

-- One console report, in order of arrival; never overwritten.
CREATE TABLE event_log (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    received INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    content TEXT,
    extra TEXT
);
CREATE INDEX event_log_time ON event_log (series, timestamp);
