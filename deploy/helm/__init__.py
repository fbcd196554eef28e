"""Helm, and the values it is given."""
