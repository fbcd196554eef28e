"""What runs in a controller's process: the patched controller and the pipelines' graphs; the drafts of both."""
