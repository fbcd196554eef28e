"""The HTTP front of the three services: connections and their limits, what is measured, what is logged.

It knows nothing of endpoints but their names, and of pages and files nothing at all.
"""
