"""Maintenance of a data folder: backup, check and repair, export, import, retention. Serves no requests."""
