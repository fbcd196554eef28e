"""A pipeline of one step that needs more memory than its first pod gets. Run as a program: its controller.

The first argument is the step's queue, the second one a file for the id of the run.
"""

# No `from __future__` here: the SDK copies these lines into the middle of the step's script.
import sys

from pipeline.controllers.controller import Controller, run_controller
from pipeline.controllers.options import Launch
from pipeline.graph.definitions import Definition
from pipeline.run_options import CONTROLLER, RunOptions

HUNGRY = Definition(name="Hungry", project="e2e", parameters=(), module=__name__, graph={"eat": ()})


def eat() -> int:
    """Take 300 MB beside what the agent and the SDK need."""
    return len(b"x" * 300_000_000)


def build(launch: Launch) -> Controller:
    """Return the pipeline."""
    pipe = Controller(HUNGRY, launch)
    pipe.add_function("eat", eat, inputs={}, outputs=["size"])
    return pipe


if __name__ == "__main__":
    queue, announce = sys.argv[1:]
    options = RunOptions(mode=CONTROLLER, queue=queue, controllers_queue=queue, cache=False)
    run_controller(build, [Launch(options, announce=announce).to_json()])
