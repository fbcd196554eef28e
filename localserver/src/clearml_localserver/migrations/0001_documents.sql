-- Documents by kind. Fields are read with json_extract(doc, '$.field'); indexes are on exactly that expression.
CREATE TABLE task (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE model (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE project (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE queue (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE user (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE worker (id TEXT PRIMARY KEY, doc TEXT NOT NULL);

CREATE INDEX task_project ON task (json_extract(doc, '$.project'));
CREATE INDEX task_status ON task (json_extract(doc, '$.status'));
CREATE INDEX task_parent ON task (json_extract(doc, '$.parent'));
CREATE INDEX model_project ON model (json_extract(doc, '$.project'));
CREATE INDEX model_task ON model (json_extract(doc, '$.task'));
CREATE UNIQUE INDEX project_name ON project (json_extract(doc, '$.name'));
CREATE INDEX project_parent ON project (json_extract(doc, '$.parent'));
CREATE UNIQUE INDEX queue_name ON queue (json_extract(doc, '$.name'));

-- Access keys; only a hash of the secret is kept.
CREATE TABLE credential (
    access_key TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    user TEXT NOT NULL,
    label TEXT,
    last_used TEXT,
    last_used_from TEXT
);

-- Sessions that were logged out before their token ran out.
CREATE TABLE revoked_session (session_id TEXT PRIMARY KEY, expires INTEGER NOT NULL);

-- What the server was set up with: signing secret, company, the first user.
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
