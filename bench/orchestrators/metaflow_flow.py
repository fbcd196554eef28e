"""Metaflow, on its local runtime and store, a process for each step: `… metaflow_flow run --reviews R --work W`."""

from __future__ import annotations

from pathlib import Path

from metaflow import FlowSpec, Parameter, step  # type: ignore[import-not-found]

from bench.orchestrators import three_steps


class ThreeSteps(FlowSpec):  # type: ignore[misc]
    """Split, then both parts side by side. Metaflow wants a `start`, a step that joins, and an `end`."""

    reviews = Parameter("reviews")
    work = Parameter("work")

    @step  # type: ignore[untyped-decorator]
    def start(self) -> None:
        """Split the reviews."""
        self.raw = three_steps.split(Path(self.reviews), Path(self.work))
        self.next(self.train, self.test)

    @step  # type: ignore[untyped-decorator]
    def train(self) -> None:
        """Preprocess the training set."""
        self.processed = three_steps.process("train", self.raw["train"], Path(self.work))
        self.next(self.join)

    @step  # type: ignore[untyped-decorator]
    def test(self) -> None:
        """Preprocess the test set."""
        self.processed = three_steps.process("test", self.raw["test"], Path(self.work))
        self.next(self.join)

    @step  # type: ignore[untyped-decorator]
    def join(self, inputs: object) -> None:
        """Wait for both parts."""
        self.next(self.end)

    @step  # type: ignore[untyped-decorator]
    def end(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    ThreeSteps()
