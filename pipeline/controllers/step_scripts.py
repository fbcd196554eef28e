"""The script of a generated step: what this package puts around the one that the SDK makes of a function.

In front a digest of this package, so that the cache gives a step only to the same code; at the end
`pipeline.step_runtime.timeline.complete`. Pure.
"""

from __future__ import annotations

from typing import Any

from pipeline import provenance
from pipeline.settings import step_requirements

STEP_BEGINNING = """\
from pipeline.step_runtime.timeline import mark
mark("process")
from pipeline.sdk.steps import prepare
prepare()
"""

STEP_ENDING = """\
    from pipeline.step_runtime.timeline import complete
    complete(task)
"""


def code_lines() -> list[str]:
    """Return what comes before a step's script, so that only the same code is found in the cache."""
    return [
        f"# pipeline {provenance.PACKAGE_VERSION}, source {provenance.source_digest()}",
        f"# requirements {', '.join(step_requirements())}",
    ]


def finish_step_definition(definition: dict[str, Any], image: str = "") -> None:
    """Make the SDK's definition of a function step ours: its code's digest in front, its completion at the end."""
    script = definition["script"]
    commit = provenance.commit()
    lines = [*code_lines(), *([f"# image {image}"] if image else [])]
    script["diff"] = "\n".join([*lines, script["diff"].rstrip("\n"), STEP_ENDING])
    # A step is its own script; whatever repository the SDK saw around it is none of the agent's business.
    script |= {"repository": "", "branch": "", "version_num": "", "tag": "", "working_dir": "."}
    definition["comment"] = f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else "")
    if image:
        definition["container"] = {**definition.get("container", {}), "image": image}
