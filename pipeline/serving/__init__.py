"""A published model behind HTTP, by clearml-serving: an endpoint's code, its service, its process on this machine."""
