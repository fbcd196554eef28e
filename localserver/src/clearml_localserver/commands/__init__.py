"""The sub-commands beside `serve`: arguments to calls, results to text and exit codes."""
