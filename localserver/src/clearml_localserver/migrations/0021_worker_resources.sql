-- A figure that a worker gives per core or GPU: `value` is their mean, `resources` the JSON list of all of them.
ALTER TABLE worker_statistic ADD COLUMN resources TEXT;
