"""The ClearML server: its API, the keys to it, its consoles."""
