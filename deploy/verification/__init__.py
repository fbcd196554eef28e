"""Watching an agent come up and proving that it works."""
