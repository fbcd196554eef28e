"""What can go wrong between this project and its own processes."""

from __future__ import annotations

from clearml_access.errors import ServerError


class StartError(ServerError):
    """The server or a worker did not start, or ended at once."""

    exit_code = 35
