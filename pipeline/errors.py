"""The errors a user of `python -m pipeline` can meet, each with its exit code and its next command.

The base classes stand for bands, so that a script can tell "your parameters" from "your data" from "the server" by
the exit code alone:

    2       usage: the command line itself
    10-19   parameters and settings
    20-29   data: files, reviews, lexicon, datasets
    30-39   server, queues, workers
    40-49   a run that started and failed

Errors of calls to the server come from `clearml_access.errors`; `exit_code_of` has their codes too. This module only
describes failures: it must not print, log or exit (`command_line.main` does).
"""

from __future__ import annotations

from clearml_access import errors as access
from clearml_access.errors import UserFacingError


class PipelineError(UserFacingError):
    """A failure of the pipeline's own."""


class UsageError(PipelineError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class SettingsError(PipelineError):
    """A parameter or a setting is unknown, of the wrong type or out of range."""

    exit_code = 10


class DataError(PipelineError):
    """A file, a review, a frame or a dataset is not what the work needs."""

    exit_code = 20


class LexiconError(DataError):
    """The package's stop words or WordNet nouns are missing or damaged."""

    exit_code = 21


class InputFileError(DataError):
    """An input file is missing, empty, unreadable or of the wrong kind."""

    exit_code = 22


class BadRowsError(DataError):
    """A review file has more bad rows than --max-bad allows."""

    exit_code = 23


class OutputFileError(DataError):
    """An output file cannot be written: no space, no permission, no folder."""

    exit_code = 24


class SampleError(DataError):
    """The review sample could not be fetched from the package index, or is not the pinned one."""

    exit_code = 25


class StorageError(PipelineError):
    """The object storage for files cannot be used: no boto3, no key, no bucket, or no answer."""

    exit_code = 38


class RunError(PipelineError):
    """A run started and failed."""

    exit_code = 40


class TaskDeletedError(RunError):
    """A task was deleted while a command waited for it."""


class ServiceError(RunError):
    """A search or a scheduler failed."""

    exit_code = 45


class RunTimeoutError(RunError):
    """A run, or a task, took longer than allowed, and was stopped."""

    exit_code = 42


_CODES: dict[type[BaseException], int] = {
    access.ConfigurationError: SettingsError.exit_code,
    access.ServerError: 30,
    access.NoCredentialsError: 30,
    access.ServerUnreachableError: 31,
    access.CallRefusedError: 32,
    access.StopError: 36,
}


def exit_code_of(kind: type[BaseException]) -> int:
    """Return the exit code of a kind of error, the server's own included."""
    return access.exit_code_of(kind, _CODES)
