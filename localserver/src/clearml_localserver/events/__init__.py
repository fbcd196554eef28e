"""Events in the store: what tasks and models report (curves, plots, images, console lines), kept and read by page.

Above the store, below the endpoints; knows SQL and the tables of `migrations/0020_events.sql`, but no HTTP.
"""
