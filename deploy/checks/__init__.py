"""Questions with evidence and the command that mends: what `preflight`, `check` and `doctor` ask."""
