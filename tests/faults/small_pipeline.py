"""The pipeline that the fault test runs many times at once: a controller and two steps, one after the other.

load.py copies this file to a folder of its own with other settings and runs it once: that writes a draft to the server
and prints its task id. Clones of the draft are what runs. (No `from __future__` here: the SDK copies a module's imports
into the middle of each step.)
"""

import urllib.request

from clearml import PipelineController, Task

ADDRESS, QUEUE = "http://127.0.0.1:9", "pods"


def work(address: str, seconds: float, before: int) -> int:
    """One step. Its source is all that its pod gets."""
    import time
    import urllib.request

    from clearml import Task

    task = Task.current_task().id

    def report(word: str) -> None:
        request = urllib.request.Request(f"{address}/{word}/{task}", method="PUT")
        urllib.request.urlopen(request, timeout=60).close()

    report("begun")
    time.sleep(seconds)
    report("done")
    return before + 1


def report(word: str, task: str) -> None:
    """Report the controller itself."""
    request = urllib.request.Request(f"{ADDRESS}/{word}/{task}", method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


def main() -> None:
    """Make the draft; in a pod, run it."""
    pipe = PipelineController("small", "faults", version="1", add_pipeline_tags=False, pool_frequency=0.02)
    if not Task.running_locally():
        report("begun", pipe.id)
    pipe.set_default_execution_queue(QUEUE)
    for name, before in (("first", 0), ("second", "${first.count}")):
        pipe.add_function_step(
            name,
            function=work,
            function_kwargs={"address": ADDRESS, "seconds": 4.0, "before": before},
            function_return=["count"],
            parents=["first"] if before else None,
            packages=["clearml"],
        )
    print("draft:", pipe.id, flush=True)
    pipe.start(queue=None)  # ends this process, unless it is the pod's
    report("done", pipe.id)


if __name__ == "__main__":
    main()
