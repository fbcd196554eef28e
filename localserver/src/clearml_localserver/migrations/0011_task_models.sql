-- Which task names which model: the lists in the task documents, turned round. Deleting a model, or a task with its
-- models, asks this once per model; reading every task instead would hold the only writer up for a second each time.
CREATE TABLE task_model (
    model TEXT NOT NULL,
    type TEXT NOT NULL, -- "input" or "output"
    task TEXT NOT NULL,
    PRIMARY KEY (model, type, task)
) WITHOUT ROWID;
CREATE INDEX task_model_task ON task_model (task);

CREATE TRIGGER task_model_insert AFTER INSERT ON task BEGIN
    INSERT OR IGNORE INTO task_model
    SELECT json_extract(entry.value, '$.model'), list.type, new.id
    FROM (SELECT 'input' AS type UNION ALL SELECT 'output') AS list, json_each(new.doc, '$.models.' || list.type) AS entry
    WHERE json_extract(entry.value, '$.model') IS NOT NULL;
END;

CREATE TRIGGER task_model_update AFTER UPDATE ON task
WHEN json_extract(old.doc, '$.models') IS NOT json_extract(new.doc, '$.models') BEGIN
    DELETE FROM task_model WHERE task = old.id;
    INSERT OR IGNORE INTO task_model
    SELECT json_extract(entry.value, '$.model'), list.type, new.id
    FROM (SELECT 'input' AS type UNION ALL SELECT 'output') AS list, json_each(new.doc, '$.models.' || list.type) AS entry
    WHERE json_extract(entry.value, '$.model') IS NOT NULL;
END;

CREATE TRIGGER task_model_delete AFTER DELETE ON task BEGIN
    DELETE FROM task_model WHERE task = old.id;
END;

-- Tasks of before this step.
INSERT OR IGNORE INTO task_model
SELECT json_extract(entry.value, '$.model'), list.type, task.id
FROM task, (SELECT 'input' AS type UNION ALL SELECT 'output') AS list, json_each(task.doc, '$.models.' || list.type) AS entry
WHERE json_extract(entry.value, '$.model') IS NOT NULL;
