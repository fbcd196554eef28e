"""The consoles that commands print on. rich itself ends the process with exit code 1 where a pipe's reader has gone."""

from __future__ import annotations

import errno
import os

import rich.console


class Console(rich.console.Console):  # noqa: TID251
    """rich's console; where the reader of its pipe has gone, it raises the error as `print` does."""

    def on_broken_pipe(self) -> None:
        """Print nothing more, and let the command clean up.

        Raises:
            BrokenPipeError: Always; `command_line.main` turns it into the exit code.
        """
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
