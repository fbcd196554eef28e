"""The pipelines as data: what each is called, what it takes, its steps and their order. Pure.

One table serves everybody: the controller declares parameters to ClearML from it, `--set` checks against it, `--help`
and the live view print it. How the steps are joined to code, the module of each pipeline says (`Definition.module`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.graph import sharding
from pipeline.graph.parameters import Parameter, ParameterValue, a_seed, a_share, a_version, defaults_of, not_blank

PROJECT = "Amazon reviews"


@dataclass(frozen=True)
class Definition:
    """One pipeline."""

    name: str
    project: str
    parameters: tuple[Parameter, ...]
    graph: Mapping[str, tuple[str, ...]]
    """Step → the steps that it waits for."""

    module: str
    """Its `main` is the controller's process."""

    results: Mapping[str, str] = field(default_factory=dict)
    """What it hands on to a pipeline around it: name → the step whose `dataset_id` it is. The controller leaves them
    on its own task as `return/<name>_dataset_id` and `return/<name>_dataset_version`."""

    parts: Mapping[str, Definition] = field(default_factory=dict)
    """Those of its steps that are pipelines themselves."""

    shardable: tuple[str, ...] = ()
    """Those of its steps that can be split over workers."""

    def with_shards(self, shards: int) -> Definition:
        """Return the pipeline with its shardable steps split into so many each, those of its parts included."""
        return replace(
            self,
            graph=sharding.spread(self.graph, self.shardable, shards),
            parts={step: part.with_shards(shards) for step, part in self.parts.items()},
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of its steps, in order."""
        return tuple(self.graph)

    @property
    def all_steps(self) -> tuple[str, ...]:
        """The names of its steps, those of its parts included as `part.step`."""
        return tuple(self.whole_graph)

    @property
    def whole_graph(self) -> dict[str, tuple[str, ...]]:
        """Step → the steps of the same pipeline that it waits for, those of its parts included as `part.step`."""
        whole = {}
        for step, parents in self.graph.items():
            whole[step] = parents
            inner = self.parts[step].whole_graph if step in self.parts else {}
            whole |= {f"{step}.{name}": tuple(f"{step}.{parent}" for parent in waits) for name, waits in inner.items()}
        return whole

    @property
    def work_steps(self) -> tuple[str, ...]:
        """Those of `all_steps` that work, where a part only waits for its own."""
        return tuple(step for step in self.all_steps if step not in self.parts)

    @property
    def defaults(self) -> dict[str, ParameterValue]:
        """Every parameter's default."""
        return defaults_of(self.parameters)

    @property
    def entry_name(self) -> str:
        """Name of the controller's script."""
        return f"{self.module.rpartition('.')[2]}.py"

    @property
    def entry_script(self) -> str:
        """The controller's script, stored on its task: an agent needs no repository to run it again."""
        return (
            f'"""The controller of the {self.name} pipeline. Its graph is in the installed package `pipeline`."""\n\n'
            f"from {self.module} import main\n\nmain()\n"
        )


DATA_PREPARE = Definition(
    name="DataPrepare",
    project=PROJECT,
    parameters=(
        Parameter("dataset_name", "Amazon reviews dataset", "Name of the input dataset", not_blank),
        Parameter("dataset_project", "Amazon reviews", "Project of the input dataset", not_blank),
        Parameter(
            "dataset_version",
            "1.2",
            "Version of the input dataset; outputs become <version>.1, .2 and so on",
            a_version,
        ),
        Parameter("test_size", 0.2, "Share of the reviews that goes into the test set, between 0 and 1", a_share),
        Parameter("random_state", 42, "Seed of the split: the same seed gives the same split", a_seed),
        Parameter("stratify", True, "Keep the share of each polarity equal in train and test set"),
    ),
    graph={
        "train_test_split": (),
        "train_processing": ("train_test_split",),
        "test_processing": ("train_test_split",),
    },
    module="pipeline.amazon_reviews.data_prepare",
    results={"train": "train_processing", "test": "test_processing"},
    shardable=("train_processing", "test_processing"),
)
