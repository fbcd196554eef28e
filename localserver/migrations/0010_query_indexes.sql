-- What queries filter and sort by at 100,000 tasks. Spelled as localserver/query/clauses.py spells it.
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

-- How many rows an index finds for one value, told rather than measured: the planner would otherwise take "completed"
-- for as rare as one project. Sizes are those of a full server; a small one is fast with any plan.
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1 WHERE tbl IN ('task', 'model', 'project');
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('task', 'task_project', '100000 200'),
    ('task', 'task_status', '100000 20000'),
    ('task', 'task_parent', '100000 20'),
    ('task', 'task_name', '100000 10'),
    ('task', 'task_type', '100000 20000'),
    ('task', 'task_created', '100000 2'),
    ('task', 'task_last_update', '100000 2'),
    ('task', 'task_cache_hash', '100000 10'),
    ('model', 'model_project', '20000 100'),
    ('model', 'model_task', '20000 2'),
    ('model', 'model_name', '20000 10'),
    ('model', 'model_uri', '20000 2'),
    ('model', 'model_created', '20000 2'),
    ('model', 'model_last_update', '20000 2'),
    ('project', 'project_name', '2000 1'),
    ('project', 'project_parent', '2000 10');
