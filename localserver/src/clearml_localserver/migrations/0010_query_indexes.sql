-- What queries filter and sort by at 100,000 tasks. Spelled as localserver/src/clearml_localserver/query/clauses.py spells it.
CREATE INDEX task_name ON task (json_extract(doc, '$.name'));
CREATE INDEX task_type ON task (json_extract(doc, '$.type'));
CREATE INDEX task_created ON task (json_extract(doc, '$.created'));
CREATE INDEX task_last_update ON task (json_extract(doc, '$.last_update'));
-- A cached pipeline step is looked for by this before each launch, in any case of letters.
CREATE INDEX task_cache_hash ON task (json_extract(doc, '$.runtime.pipeline_job_hash') COLLATE NOCASE);
CREATE INDEX model_name ON model (json_extract(doc, '$.name'));
CREATE INDEX model_uri ON model (json_extract(doc, '$.uri'));
CREATE INDEX model_created ON model (json_extract(doc, '$.created'));
CREATE INDEX model_last_update ON model (json_extract(doc, '$.last_update'));

-- No statistics on purpose (no ANALYZE, no PRAGMA optimize): with them SQLite 3.40, Debian 12's, puts Bloom filters in
-- front of joins over indexes on expressions and then misses rows. localserver/src/clearml_localserver/query keeps the planner away from the
-- coarse indexes (status, type) instead, wherever a query names something rarer.
