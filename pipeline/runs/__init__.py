"""Runs as a person meets them: started, followed, reported, aborted, run again; seen by what the server says."""
