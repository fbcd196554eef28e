"""One process, no orchestrator: `python -m bench.orchestrators.plain_script REVIEWS WORK`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.orchestrators import three_steps


def main() -> None:
    """Run the steps one after the other."""
    reviews, work = Path(sys.argv[1]), Path(sys.argv[2])
    for part, raw in three_steps.split(reviews, work).items():
        three_steps.process(part, raw, work)


if __name__ == "__main__":
    main()
