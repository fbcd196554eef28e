"""Pipelines as data: their parameters, their steps and the order of those, steps split into shards. Pure."""
