"""Run by Python at its start in each process of a task, whatever its code: keeps the SDK from hanging in `Task.init`.

The folder of this file stands first on the PYTHONPATH that a task gets from a worker of this machine
(pipeline/local_stack/environment.py) and in a pod (images/task/step-python). Only the standard library is used: it runs
in environments of other people, with any version of the SDK or none. Outside system: the SDK.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

MODULE = "clearml.backend_interface.task.task"
"""Of the SDK; it defines the class of tasks that is patched."""


def share_edit_lock(task_class: Any) -> None:
    """Let threads that ask for a task's lock at once get the same one; a second call changes nothing.

    The SDK (2.1.12) makes it when it is first asked for, and `Task.init` asks in the moment at which the thread of its
    resource monitor does. If each makes one, the monitor's holds its mutex and waits for the file that both lock, and
    the main thread's holds the file and waits for that mutex: now and then a step hangs for ever.
    """
    plain: Any = vars(task_class).get("_edit_lock")
    get: Any = getattr(plain, "fget", None)
    if get is None or get.__name__ == "shared_edit_lock":
        return
    making = threading.RLock()

    def shared_edit_lock(task: Any) -> Any:
        with making:
            return get(task)

    task_class._edit_lock = property(shared_edit_lock, plain.fset)


class Finder:
    """Finds the SDK's module as the others do, and patches it once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the module's spec, None for every other module."""
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        finders: list[Any] = list(sys.meta_path)
        spec: Any = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        loader: Any = spec and spec.loader
        if not hasattr(loader, "exec_module"):
            return spec
        run = loader.exec_module

        def run_and_patch(module: Any) -> None:
            run(module)
            share_edit_lock(module.Task)

        loader.exec_module = run_and_patch
        return spec


def give_way(folder: str) -> None:
    """Run the `sitecustomize` that this one hides, if there is one, and leave `sys.path` as it were without this."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    own = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", own)  # Python looks for it when this one has run


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, Finder())
    give_way(os.path.dirname(os.path.abspath(__file__)))
