"""Faults under load: a deployed agent's pipelines while its API server, its agent and its task pods are killed."""
