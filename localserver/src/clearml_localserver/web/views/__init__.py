"""The pages, one module per theme. A view reads the API, shapes what it read, names a template; no SQL."""
