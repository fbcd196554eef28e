"""What runs in a controller's process: the SDK's controller, tamed, and the pipelines' graphs; the drafts of both."""
