"""What the SDK needs before `Task.init`: each process of ours calls `prepare` first. Outside system: none."""

from __future__ import annotations

from typing import Any

from pipeline.sdk.at_start.sitecustomize import share_edit_lock


def prepare() -> None:
    """Patch the SDK for a process of ours, whatever its `clearml.conf` says; a second call changes nothing."""
    hide_progress_bars()
    share_lock()
    report_in_thread()
    keep_request_validators()


def hide_progress_bars() -> None:
    """Let the SDK draw no bar for a download or an upload: in a stored console each is one long line."""
    from clearml.storage.callbacks import ProgressReport  # here: the moment at which a step began is noted before

    ProgressReport._report = lambda *_: None


def report_in_thread() -> None:
    """Let the SDK send what a task reports from a thread, as `sdk.development.report_use_subprocess: false` does.

    Its default on Linux is a forked process. That one shares the connection to the server with this process, so that
    each may read the other's answers, and it is looked at every 5 s, twice: 10 s more at the end of each process.
    """
    from clearml.backend_interface.task.task import Task

    Task._report_subprocess_enabled = False


def share_lock() -> None:
    """Keep the SDK from hanging in `Task.init`, as a task's process is kept by a worker and in a pod."""
    from clearml.backend_interface.task.task import Task

    share_edit_lock(Task)


def keep_request_validators() -> None:
    """Let the SDK make the validator of a kind of request once, and not check the schema itself.

    The SDK (2.1.12) checks the schema at each request before it checks the request: 2 to 5 ms of its 0.03 to 0.1 ms,
    a fifth of the main thread's time in a process of ours. The verdicts and messages stay those of the SDK's own
    validator. That its schemas are valid, a test checks.
    """
    from clearml.backend_api.session import datamodel

    plain = datamodel.DataModel.validate
    if plain.__module__ == __name__:
        return
    validators: dict[type, Any] = {}

    def validate(self: Any, schema: dict[str, Any] | None = None) -> None:
        if schema is not None:
            plain(self, schema)
            return
        kind = type(self)
        validator = validators.get(kind)
        if validator is None:
            validator = validators[kind] = datamodel._CustomValidator(kind._schema)
        error = datamodel.jsonschema.exceptions.best_match(validator.iter_errors(self.to_dict()))
        if error is not None:
            raise error

    validate.__wrapped__ = plain  # type: ignore[attr-defined]
    datamodel.DataModel.validate = validate
