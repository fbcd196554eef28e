-- The columns of tasks become ordinary ones: the server writes each of them only when it changes, so that a write
-- touches few indexes, and SQLite takes no document apart for it (see document_columns.py, which has the same columns).
CREATE TABLE written_task (
    id TEXT PRIMARY KEY,
    -- Counts the writes of the server. A write that leaves it as it is comes from elsewhere: the triggers below then
    -- take the columns from the document.
    revision INTEGER NOT NULL DEFAULT 0,
    field_project,
    field_company,
    field_user,
    field_parent,
    field_name,
    field_comment,
    field_type,
    field_status,
    field_created,
    field_started,
    field_completed,
    field_active_duration,
    field_status_changed,
    field_last_update,
    field_last_iteration,
    -- Lists, as JSON.
    field_tags,
    field_system_tags,
    -- $.runtime.pipeline_job_hash
    field_cache_hash,
    -- Ids of models: {"input": [...], "output": [...]}; NULL where there are none.
    field_models,
    -- Whether a system tag is "archived". A quote after a bracket or a comma begins a text: inside one it has a backslash.
    field_archived GENERATED ALWAYS AS (
        coalesce(instr(field_system_tags, '["archived"') + instr(field_system_tags, ',"archived"') > 0, 0)
    ) VIRTUAL,
    -- From start to end, in whole seconds; of a task that has not ended, the duration it last reported.
    field_run_s GENERATED ALWAYS AS (
        coalesce(
            max(0, round((julianday(field_completed) - julianday(field_started)) * 86400)), field_active_duration, 0
        )
    ) VIRTUAL,
    doc TEXT NOT NULL
);

INSERT INTO written_task (
    rowid, id, field_project, field_company, field_user, field_parent, field_name, field_comment, field_type,
    field_status, field_created, field_started, field_completed, field_active_duration, field_status_changed,
    field_last_update, field_last_iteration, field_tags, field_system_tags, field_cache_hash, doc
)
SELECT
    rowid, id, field_project, field_company, field_user, field_parent, field_name, field_comment, field_type,
    field_status, field_created, field_started, field_completed, json_extract(doc, '$.active_duration'),
    field_status_changed, field_last_update, field_last_iteration, field_tags, field_system_tags,
    json_extract(doc, '$.runtime.pipeline_job_hash'), doc
FROM task ORDER BY rowid;
DROP TABLE task;
ALTER TABLE written_task RENAME TO task;

CREATE TRIGGER task_columns_insert AFTER INSERT ON task WHEN new.revision = 0 BEGIN
    UPDATE task SET doc = doc WHERE rowid = new.rowid;
END;

CREATE TRIGGER task_columns_update AFTER UPDATE OF doc ON task WHEN new.revision = old.revision BEGIN
    UPDATE task SET
        field_project = json_extract(doc, '$.project'),
        field_company = json_extract(doc, '$.company'),
        field_user = json_extract(doc, '$.user'),
        field_parent = json_extract(doc, '$.parent'),
        field_name = json_extract(doc, '$.name'),
        field_comment = json_extract(doc, '$.comment'),
        field_type = json_extract(doc, '$.type'),
        field_status = json_extract(doc, '$.status'),
        field_created = json_extract(doc, '$.created'),
        field_started = json_extract(doc, '$.started'),
        field_completed = json_extract(doc, '$.completed'),
        field_active_duration = json_extract(doc, '$.active_duration'),
        field_status_changed = json_extract(doc, '$.status_changed'),
        field_last_update = json_extract(doc, '$.last_update'),
        field_last_iteration = json_extract(doc, '$.last_iteration'),
        field_tags = doc -> '$.tags',
        field_system_tags = doc -> '$.system_tags',
        field_cache_hash = json_extract(doc, '$.runtime.pipeline_job_hash'),
        field_models = CASE
            WHEN EXISTS (
                SELECT 1 FROM (SELECT 'input' AS type UNION ALL SELECT 'output') AS list,
                    json_each(doc, '$.models.' || list.type) AS entry
                WHERE json_extract(entry.value, '$.model') IS NOT NULL
            ) THEN json_object(
                'input', json((
                    SELECT json_group_array(json_extract(entry.value, '$.model'))
                    FROM json_each(doc, '$.models.input') AS entry
                    WHERE json_extract(entry.value, '$.model') IS NOT NULL
                )),
                'output', json((
                    SELECT json_group_array(json_extract(entry.value, '$.model'))
                    FROM json_each(doc, '$.models.output') AS entry
                    WHERE json_extract(entry.value, '$.model') IS NOT NULL
                ))
            )
        END
    WHERE rowid = new.rowid;
END;

-- The models of tasks of before this step; `task_model` has them already.
UPDATE task SET doc = doc WHERE id IN (SELECT task FROM task_model);

CREATE TRIGGER task_model_insert AFTER INSERT ON task WHEN new.field_models IS NOT NULL BEGIN
    INSERT OR IGNORE INTO task_model
    SELECT model.value, list.key, new.id FROM json_each(new.field_models) AS list, json_each(list.value) AS model;
END;

CREATE TRIGGER task_model_update AFTER UPDATE OF field_models ON task
WHEN old.field_models IS NOT new.field_models BEGIN
    DELETE FROM task_model WHERE task = old.id;
    INSERT OR IGNORE INTO task_model
    SELECT model.value, list.key, new.id
    FROM json_each(coalesce(new.field_models, '{}')) AS list, json_each(list.value) AS model;
END;

CREATE TRIGGER task_model_delete AFTER DELETE ON task BEGIN
    DELETE FROM task_model WHERE task = old.id;
END;

CREATE INDEX task_parent ON task (field_parent);
CREATE INDEX task_name ON task (field_name);
CREATE INDEX task_type ON task (
    field_type, field_project, field_archived, field_status, field_created, field_company, field_system_tags,
    field_last_update
);
CREATE INDEX task_status ON task (field_status);
CREATE INDEX task_created ON task (field_created);
CREATE INDEX task_last_update ON task (field_last_update);
-- A cached pipeline step is looked for by this before each launch, in any case of letters.
CREATE INDEX task_cache_hash ON task (field_cache_hash COLLATE NOCASE);
-- The latest tasks of a project, in order.
CREATE INDEX task_latest ON task (field_project, field_archived, field_last_update);
-- Everything else that is asked of many tasks at once. The time of creation differs from task to task: behind it, no
-- value is looked at to find an entry's place.
CREATE INDEX task_fields ON task (
    field_project, field_archived, field_status, field_created, field_company, field_type, field_system_tags,
    field_run_s, field_started, field_completed, field_last_update, field_status_changed, field_last_iteration,
    field_user, field_parent, field_name, id, field_tags, field_comment
);
