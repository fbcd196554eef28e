-- Containers that serve models, until they are not heard of for their time-out.
CREATE TABLE serving_container (id TEXT PRIMARY KEY, url TEXT, expires REAL NOT NULL, doc TEXT NOT NULL);
CREATE INDEX serving_container_url ON serving_container (url);

-- What they have reported, for a week. A figure that a report does not give is 0.
CREATE TABLE serving_report (
    url TEXT NOT NULL,
    container TEXT NOT NULL,
    time REAL NOT NULL,
    requests REAL NOT NULL,
    requests_min REAL NOT NULL,
    latency_ms REAL NOT NULL,
    cpu_count REAL NOT NULL,
    cpu_util REAL NOT NULL,
    gpu_count REAL NOT NULL,
    gpu_util REAL NOT NULL,
    ram_used REAL NOT NULL,
    ram_free REAL NOT NULL,
    network_tx REAL NOT NULL,
    network_rx REAL NOT NULL
);
CREATE INDEX serving_report_url ON serving_report (url, time);
CREATE INDEX serving_report_time ON serving_report (time);
