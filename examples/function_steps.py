"""A pipeline as the ClearML documentation writes one: plain functions as steps, made with `PipelineController`.

Nothing in it knows of clearml-pods. Run it with the ClearML SDK alone: `python examples/function_steps.py`.
"""

from clearml import PipelineController


def describe(values):
    """Return the mean and the spread of numbers; steps call it as a helper function."""
    mean = sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5


def make_numbers(rows, seed):
    """Return random numbers."""
    import random

    chance = random.Random(int(seed))
    values = [chance.gauss(10.0, 2.0) for _ in range(int(rows))]
    print(f"{len(values)} numbers made")
    return values


def summarise(values):
    """Return the mean of numbers."""
    mean, spread = describe(values)
    print(f"mean {mean:.2f}, standard deviation {spread:.2f}")
    return mean


def check(mean, limit):
    """Fail if the mean is over the limit."""
    if mean > float(limit):
        raise ValueError(f"mean {mean:.2f} is over {limit}")
    print(f"mean {mean:.2f} is within {limit}")
    return mean


if __name__ == "__main__":
    pipeline = PipelineController(name="Function steps", project="Examples", version="1.0")
    pipeline.set_default_execution_queue("default")
    pipeline.add_parameter("rows", 1000)
    pipeline.add_parameter("seed", 0)
    pipeline.add_parameter("limit", 11)
    pipeline.add_function_step(
        "make_numbers",
        make_numbers,
        function_kwargs={"rows": "${pipeline.rows}", "seed": "${pipeline.seed}"},
        function_return=["values"],
        cache_executed_step=True,
    )
    pipeline.add_function_step(
        "summarise",
        summarise,
        function_kwargs={"values": "${make_numbers.values}"},
        function_return=["mean"],
        helper_functions=[describe],
        cache_executed_step=True,
    )
    pipeline.add_function_step(
        "check",
        check,
        function_kwargs={"mean": "${summarise.mean}", "limit": "${pipeline.limit}"},
        function_return=["mean"],
    )
    pipeline.start(queue="default")
