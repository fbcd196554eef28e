"""Every pipeline by name, and the one that is made of the others: FullPipeline. Pure data.

Apart from `pipeline.graph.definitions` because the parameters of its last step are those of
`pipeline.amazon_reviews.model.fit_model`, which builds on that module.
"""

from __future__ import annotations

from pipeline.amazon_reviews.definitions import DATA_PREPARE, PROJECT
from pipeline.amazon_reviews.model import fit_model
from pipeline.graph.definitions import Definition

_CHOSEN_HERE = {parameter.name for parameter in DATA_PREPARE.parameters} | {
    "train_dataset_version",
    "test_dataset_version",
    "publish",
}
"""Parameters of the task TF-IDF that the pipeline around it sets: data_prepare's own, and what that one has made."""

FULL_PIPELINE = Definition(
    name="FullPipeline",
    project=PROJECT,
    parameters=(
        *DATA_PREPARE.parameters,
        *(parameter for parameter in fit_model.PARAMETERS if parameter.name not in _CHOSEN_HERE),
    ),
    graph={"data_prepare": (), "fit_model": ("data_prepare",)},
    module="pipeline.amazon_reviews.full_pipeline",
    parts={"data_prepare": DATA_PREPARE},
)

PIPELINES = {definition.name: definition for definition in (DATA_PREPARE, FULL_PIPELINE)}
