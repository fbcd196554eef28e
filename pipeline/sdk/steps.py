"""What the SDK needs before `Task.init`: each process of ours calls `prepare` first. Outside system: none."""

from __future__ import annotations

import threading


def prepare() -> None:
    """Patch the SDK for a process of ours, whatever its `clearml.conf` says; a second call changes nothing."""
    hide_progress_bars()
    share_edit_lock()
    report_in_thread()


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


def share_edit_lock() -> None:
    """Let threads that ask for a task's lock at once get the same one.

    The SDK (2.1.12) makes it when it is first asked for, and `Task.init` asks in the moment at which the thread of its
    resource monitor does. If each makes one, the monitor's holds its mutex and waits for the file that both lock, and
    the main thread's holds the file and waits for that mutex: now and then a step hangs for ever.
    """
    from clearml.backend_interface.task.task import Task

    plain, making = Task._edit_lock, threading.RLock()
    if plain.fget.__module__ == __name__:
        return

    def edit_lock(task: Task) -> object:
        with making:
            return plain.fget(task)

    Task._edit_lock = property(edit_lock, plain.fset)
