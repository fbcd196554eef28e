"""The HTTP front of the three services: connections and their limits, what is measured, what is logged.

Of endpoints it knows only the names; of pages and files it knows nothing.
"""
