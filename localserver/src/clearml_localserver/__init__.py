"""An embedded ClearML-compatible server: API, file server and web pages in one process.

Written from the wire alone (requests and replies that the SDK and the agent exchange with a server), never from
the genuine server's source. It knows nothing of the `pipeline` and `deploy` packages.
"""
