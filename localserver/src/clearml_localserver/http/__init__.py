"""HTTP below the three services: connections and their limits, request metrics, the access log.

Of endpoints it knows only the names; of pages and files it knows nothing.
"""
