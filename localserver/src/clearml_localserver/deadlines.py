"""`asyncio.timeout` for every Python that this package runs on; both raise `asyncio.TimeoutError`."""

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout, timeout_at
else:
    from async_timeout import timeout, timeout_at

__all__ = ["timeout", "timeout_at"]
