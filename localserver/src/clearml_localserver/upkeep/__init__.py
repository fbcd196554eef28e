"""Keeping a data folder for years: backup, check and repair, export, import, retention. Serves no requests."""
