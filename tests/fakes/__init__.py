"""Fakes of outside systems for fast tests. The e2e suite runs the same use cases on the real systems."""
