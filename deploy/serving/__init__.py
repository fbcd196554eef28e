"""Served models in a cluster: the objects, the service that names the models, and a request from a pod as proof."""
