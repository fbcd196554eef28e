"""A pipeline as plain Python code with `PipelineDecorator`: what a step returns decides what runs next.

Nothing in it knows of clearml-pods. Run it with the ClearML SDK alone: `python examples/decorated.py`.
"""

from clearml import PipelineDecorator


@PipelineDecorator.component(return_values=["numbers"], cache=True)
def make_numbers(rows, seed):
    """Return random numbers."""
    import random

    chance = random.Random(int(seed))
    return [chance.gauss(10.0, 2.0) for _ in range(int(rows))]


@PipelineDecorator.component(return_values=["mean"])
def mean_of(numbers):
    """Return the mean of numbers."""
    return sum(numbers) / len(numbers)


@PipelineDecorator.pipeline(
    name="Decorated", project="Examples", version="1.0", default_queue="default", pipeline_execution_queue="default"
)
def run(rows=1000, seed=0):
    """Make numbers and print their mean."""
    mean = float(mean_of(make_numbers(rows, seed)))  # waits for the steps
    print(f"mean {mean:.2f}")


if __name__ == "__main__":
    run()
