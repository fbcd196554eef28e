-- What lists filter, sort and count tasks by, as columns: the value is computed from the document and kept only in
-- indexes, so nothing can differ from the document. An index that has all of a query's columns answers it without
-- reading documents, which are 2 KB and more each. Named in localserver/src/clearml_localserver/query/kinds.py.
ALTER TABLE task ADD COLUMN field_project GENERATED ALWAYS AS (json_extract(doc, '$.project')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_company GENERATED ALWAYS AS (json_extract(doc, '$.company')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_user GENERATED ALWAYS AS (json_extract(doc, '$.user')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_parent GENERATED ALWAYS AS (json_extract(doc, '$.parent')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_name GENERATED ALWAYS AS (json_extract(doc, '$.name')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_comment GENERATED ALWAYS AS (json_extract(doc, '$.comment')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_type GENERATED ALWAYS AS (json_extract(doc, '$.type')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_status GENERATED ALWAYS AS (json_extract(doc, '$.status')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_created GENERATED ALWAYS AS (json_extract(doc, '$.created')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_started GENERATED ALWAYS AS (json_extract(doc, '$.started')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_completed GENERATED ALWAYS AS (json_extract(doc, '$.completed')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_status_changed GENERATED ALWAYS AS (json_extract(doc, '$.status_changed')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_last_update GENERATED ALWAYS AS (json_extract(doc, '$.last_update')) VIRTUAL;
ALTER TABLE task ADD COLUMN field_last_iteration GENERATED ALWAYS AS (json_extract(doc, '$.last_iteration')) VIRTUAL;
-- Lists, as JSON.
ALTER TABLE task ADD COLUMN field_tags GENERATED ALWAYS AS (doc -> '$.tags') VIRTUAL;
ALTER TABLE task ADD COLUMN field_system_tags GENERATED ALWAYS AS (doc -> '$.system_tags') VIRTUAL;
-- Whether a system tag is "archived". A quote after a bracket or a comma begins a text: inside one it has a backslash.
ALTER TABLE task ADD COLUMN field_archived GENERATED ALWAYS AS (
    coalesce(instr(doc -> '$.system_tags', '["archived"') + instr(doc -> '$.system_tags', ',"archived"') > 0, 0)
) VIRTUAL;
-- From start to end, in whole seconds; of a task that has not ended, the duration it last reported.
ALTER TABLE task ADD COLUMN field_run_s GENERATED ALWAYS AS (
    coalesce(
        max(0, round((julianday(json_extract(doc, '$.completed')) - julianday(json_extract(doc, '$.started'))) * 86400)),
        json_extract(doc, '$.active_duration'),
        0
    )
) VIRTUAL;
ALTER TABLE model ADD COLUMN field_project GENERATED ALWAYS AS (json_extract(doc, '$.project')) VIRTUAL;

DROP INDEX task_project;
DROP INDEX task_parent;
DROP INDEX task_name;
DROP INDEX task_type;
DROP INDEX task_status;
DROP INDEX task_created;
DROP INDEX task_last_update;
DROP INDEX model_project;

CREATE INDEX task_parent ON task (field_parent);
CREATE INDEX task_name ON task (field_name);
CREATE INDEX task_type ON task (
    field_type, field_project, field_archived, field_status, field_company, field_system_tags, field_created,
    field_last_update
);
CREATE INDEX task_status ON task (field_status);
CREATE INDEX task_created ON task (field_created);
CREATE INDEX task_last_update ON task (field_last_update);
-- The latest tasks of a project, in order.
CREATE INDEX task_latest ON task (field_project, field_archived, field_last_update);
-- Everything else that is asked of many tasks at once.
CREATE INDEX task_fields ON task (
    field_project, field_archived, field_status, field_company, field_type, field_system_tags, field_run_s,
    field_started, field_completed, field_created, field_last_update, field_status_changed, field_last_iteration,
    field_user, field_parent, field_name, id, field_tags, field_comment
);
CREATE INDEX model_project ON model (field_project);
