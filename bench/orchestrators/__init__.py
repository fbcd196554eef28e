"""The three steps of DataPrepare, as other orchestrators run them. Each script runs in an environment of its own."""
