"""Errors that reach a client: an HTTP status, ClearML's subcode and a text.

Only the dispatcher (`clearml_localserver.wire`) turns them into replies. The codes are those that clients see on a
genuine server; there is no error class per code because clients branch on the numbers alone.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system calls a disk that is full, a quota or a file size limit that is reached."""


class ApiError(Exception):
    """A request that is refused.

    Attributes:
        code: HTTP status, repeated as `meta.result_code`.
        subcode: `meta.result_subcode`, the number that the SDK shows as `400/101`.
        msg: `meta.result_msg`.
        headers: HTTP headers of the reply, e.g. `Retry-After`.
    """

    def __init__(self, code: int, subcode: int, msg: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(msg)
        self.code = code
        self.subcode = subcode
        self.msg = msg
        self.headers = headers or {}


class OperatorError(Exception):
    """The command or the server cannot do what is asked; the message says why, and what to do."""

    exit_code = 10


class StartError(OperatorError):
    """The server cannot start (port taken, data folder unusable)."""


MAX_REPLY_BYTES = 256 * 2**20
"""Largest list in a reply."""


def too_large_reply(hint: str) -> ApiError:
    """Return the 400/0 that answers who asks for too much at once; `hint` says what to ask for."""
    return ApiError(400, 0, f"The reply is larger than {MAX_REPLY_BYTES} bytes: ask for {hint}")


def validation_error(text: str) -> ApiError:
    """Return the 400/12 that answers a malformed request."""
    return ApiError(400, 12, f"Validation error ({text})")


def unauthorized(subcode: int, text: str) -> ApiError:
    """Return a 401: subcode 20 no credentials, 22 wrong credentials, 30 bad token."""
    return ApiError(401, subcode, f"Unauthorized ({text})")
