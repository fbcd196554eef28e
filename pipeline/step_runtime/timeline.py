"""When the phases of a step began, and the end of a step: wait for its uploads, say when, and be completed.

Lives inside a step's process only. A step completes itself as soon as its results are on the server: the agent would
do it after its next look at the process, up to 5 s later, and the steps that wait for this one would wait for that.
Failure stays the agent's to report. Outside system: the step's own ClearML task, through the SDK.

The phases, in order: `process` (the script's first line), `function` (SDK imported, task joined, inputs fetched),
`work` (the step's imports are done), `returned`, `stored` (uploads are done). `clearml_access.run_records` reads them.
"""

from __future__ import annotations

import json
import time
from typing import Any

from clearml_access.tasks import TIMELINE_PROPERTY
from pipeline.step_runtime import scratch

_marks: dict[str, float] = {}


def mark(phase: str) -> None:
    """Note that `phase` begins now."""
    _marks[phase] = time.time()


def complete(task: Any) -> None:
    """End the step of `task`: everything it produced is on the server when this returns."""
    mark("returned")
    task.flush(wait_for_uploads=True)
    mark("stored")
    task.set_user_properties(**{TIMELINE_PROPERTY: json.dumps({name: round(at, 3) for name, at in _marks.items()})})
    task.close()  # else the SDK takes the change of status for another process's, and says "user aborted"
    task.mark_completed()
    scratch.clear()
