-- How many tasks there are of each project, company, status, type and archived or not: lists say how many they show, and
-- the page of all projects counts by status. Counting 100,000 tasks takes 60 ms and more each time; keeping the counts
-- takes some microseconds when one of these values of a task changes. Triggers keep them, whoever writes.
CREATE TABLE task_tally (
    key TEXT PRIMARY KEY, -- The values as JSON: in a key, NULL would equal nothing.
    field_project,
    field_company,
    field_archived,
    field_status,
    field_type,
    count INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO task_tally
SELECT
    json_array(field_project, field_company, field_archived, field_status, field_type),
    field_project, field_company, field_archived, field_status, field_type, count(*)
FROM task GROUP BY 2, 3, 4, 5, 6;

CREATE TRIGGER task_tally_insert AFTER INSERT ON task BEGIN
    INSERT INTO task_tally VALUES (
        json_array(new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type),
        new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type, 1
    ) ON CONFLICT (key) DO UPDATE SET count = count + 1;
    DELETE FROM task_tally WHERE count = 0 AND key = json_array(
        new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type
    );
END;

CREATE TRIGGER task_tally_delete AFTER DELETE ON task BEGIN
    UPDATE task_tally SET count = count - 1 WHERE key = json_array(
        old.field_project, old.field_company, old.field_archived, old.field_status, old.field_type
    );
    DELETE FROM task_tally WHERE count = 0 AND key = json_array(
        old.field_project, old.field_company, old.field_archived, old.field_status, old.field_type
    );
END;

CREATE TRIGGER task_tally_update
AFTER UPDATE OF field_project, field_company, field_system_tags, field_status, field_type ON task
WHEN
    old.field_project IS NOT new.field_project OR old.field_company IS NOT new.field_company
    OR old.field_archived IS NOT new.field_archived OR old.field_status IS NOT new.field_status
    OR old.field_type IS NOT new.field_type
BEGIN
    -- Of a task that another process inserts, this trigger may run before that of the insertion: a count is -1 then.
    INSERT INTO task_tally VALUES (
        json_array(old.field_project, old.field_company, old.field_archived, old.field_status, old.field_type),
        old.field_project, old.field_company, old.field_archived, old.field_status, old.field_type, -1
    ) ON CONFLICT (key) DO UPDATE SET count = count - 1;
    DELETE FROM task_tally WHERE count = 0 AND key = json_array(
        old.field_project, old.field_company, old.field_archived, old.field_status, old.field_type
    );
    INSERT INTO task_tally VALUES (
        json_array(new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type),
        new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type, 1
    ) ON CONFLICT (key) DO UPDATE SET count = count + 1;
    DELETE FROM task_tally WHERE count = 0 AND key = json_array(
        new.field_project, new.field_company, new.field_archived, new.field_status, new.field_type
    );
END;

-- Versions of datasets are few of the tasks, and lists ask for the newest of them all. Exact, as with `field_archived`.
ALTER TABLE task ADD COLUMN field_dataset GENERATED ALWAYS AS (
    coalesce(instr(field_system_tags, '["dataset"') + instr(field_system_tags, ',"dataset"') > 0, 0)
) VIRTUAL;
CREATE INDEX task_dataset ON task (field_dataset, field_created) WHERE field_dataset = 1;
DROP INDEX task_fields;
CREATE INDEX task_fields ON task (
    field_project, field_archived, field_status, field_created, field_company, field_type, field_system_tags,
    field_run_s, field_started, field_completed, field_last_update, field_status_changed, field_last_iteration,
    field_user, field_parent, field_name, id, field_tags, field_comment, field_dataset
);

-- The next free number of a name within a project: from the name, all that is asked for without reading a task.
DROP INDEX task_name;
CREATE INDEX task_name ON task (field_name, field_project, field_created, field_company);
