-- The most that an access key may do, where that is less than its user may.
ALTER TABLE credential ADD COLUMN role TEXT;

-- Which key is the server's own: the one in credentials.json.
INSERT OR IGNORE INTO setting
SELECT 'own_key', json_quote(access_key) FROM credential WHERE label = 'localserver' ORDER BY rowid LIMIT 1;
