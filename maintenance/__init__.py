"""Chores of maintainers: newer pins, and what must hold before a release. No product code imports it."""
