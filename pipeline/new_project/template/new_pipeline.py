"""New pipeline: makes numbers, and checks their mean. Controller and steps are tasks that agents run.

Start it on the configured ClearML server: `python new_pipeline.py --rows 500`.
"""

import argparse

from clearml import PipelineController

# A step is shipped as the source of its function: what it imports, it imports inside.


def make_numbers(rows, seed):
    """Return random numbers; the same seed gives the same ones."""
    import random

    chance = random.Random(int(seed))
    values = [chance.gauss(10.0, 2.0) for _ in range(int(rows))]
    print(f"{len(values)} numbers made")
    return values


def check_mean(values, limit):
    """Return the mean of numbers; fail if it is over the limit."""
    mean = sum(values) / len(values)
    if mean > float(limit):
        raise ValueError(f"mean {mean:.2f} is over {limit}")
    print(f"mean {mean:.2f} is within {limit}")
    return mean


def declare(rows, seed, limit, queue):
    """Return the pipeline: its parameters, its steps, and what each takes from those before it."""
    # It looks for ended steps every 0.02 minutes; the SDK's default is 12 s.
    pipeline = PipelineController(name="New pipeline", project="New pipeline", version="1.0", pool_frequency=0.02)
    pipeline.set_default_execution_queue(queue)
    pipeline.add_parameter("rows", rows)
    pipeline.add_parameter("seed", seed)
    pipeline.add_parameter("limit", limit)
    pipeline.add_function_step(
        "make_numbers",
        make_numbers,
        function_kwargs={"rows": "${pipeline.rows}", "seed": "${pipeline.seed}"},
        function_return=["values"],
        cache_executed_step=True,
    )
    pipeline.add_function_step(
        "check_mean",
        check_mean,
        function_kwargs={"values": "${make_numbers.values}", "limit": "${pipeline.limit}"},
        function_return=["mean"],
    )
    return pipeline


def main():
    """Start the pipeline on a queue, and print the id of its run."""
    parser = argparse.ArgumentParser(description="Start the pipeline on the configured ClearML server.")
    parser.add_argument("--rows", type=int, default=1000, help="how many numbers are made")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=11.0, help="what the mean may be at most")
    parser.add_argument("--queue", default="default", help="queue of controller and steps")
    options = parser.parse_args()
    pipeline = declare(options.rows, options.seed, options.limit, options.queue)
    print(f"run {pipeline.id}", flush=True)
    pipeline.start(queue=options.queue)


if __name__ == "__main__":
    main()
