"""Prefect, with the temporary server that it starts for a run, and tasks in threads: `… prefect_flow R W`."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, task  # type: ignore[import-not-found]

from bench.orchestrators import three_steps

split = task(three_steps.split)
process = task(three_steps.process)


@flow  # type: ignore[untyped-decorator]
def three_tasks(reviews: Path, work: Path) -> None:
    """Split, then both parts side by side."""
    raw = split(reviews, work)
    for part in [process.submit(part, raw[part], work) for part in three_steps.PARTS]:
        part.result()


if __name__ == "__main__":
    three_tasks(Path(sys.argv[1]), Path(sys.argv[2]))
