"""ClearML tasks that run an installed module: declared, kept as drafts, run here or by an agent, stopped."""
