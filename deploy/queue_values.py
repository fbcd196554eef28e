"""What a file in `helm/queues` makes of the values below it, and how its release is known afterwards.

Pure: values go in, values come out.
"""

from __future__ import annotations

from clearml_access import agent_values
from clearml_access.queue_policy import WORKER
from deploy.errors import ValuesError
from deploy.helm import values as v
from deploy.helm.values import Values
from deploy.pod_values import AGENT_ENV, POD
from deploy.settings import Settings

ANNOTATION = "clearml-pods/queue-file"
"""On the agent pod of a release that was made from a queue file: that file's name. No other release is ever removed."""

ENVIRONMENTS = (AGENT_ENV, f"{POD}.env")


def merged(below: Values, file: Values, settings: Settings) -> Values:
    """Return the values with a queue file over them.

    Its environment variables are added to those below by name: a limit of pods must not drop the pins of the agent,
    which are in the same list.

    Raises:
        ValuesError: The file names no queue.
    """
    if not isinstance(v.get(file, agent_values.QUEUE), str):
        raise ValuesError(
            f"{settings.queue_file} names no queue, and two releases must not serve the same one",
            hint=f"agentk8sglue: {{queue: {settings.queue}}}",
        )
    # Each release's agent needs a name of its own.
    shared = [item for item in v.get(below, AGENT_ENV) or () if item["name"] != WORKER]
    below = v.merge(below, v.nest(AGENT_ENV, shared))
    lists = [v.nest(path, v.by_name(v.get(below, path) or (), v.get(file, path) or ())) for path in ENVIRONMENTS]
    mark = v.nest("agentk8sglue.annotations", {ANNOTATION: settings.queue})
    return v.merge(below, file, *lists, mark)


def file_of(values: Values) -> str | None:
    """Return the name of the queue file that a release with these values was made from; None if there was none."""
    found = v.get(values, f"agentk8sglue.annotations.{ANNOTATION}")
    return found if isinstance(found, str) else None
