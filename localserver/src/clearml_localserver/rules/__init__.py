"""Pure rules: no I/O, no store, table-tested."""
