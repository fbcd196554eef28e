"""Checks, each with its evidence and the command that fixes it: what `preflight`, `check` and `doctor` run."""
