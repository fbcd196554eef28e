"""What can go wrong when a model is served."""

from __future__ import annotations

from pipeline.errors import PipelineError, RunError


class ServingEnvironmentError(PipelineError):
    """The Python environment of clearml-serving could not be made."""

    exit_code = 37


class ServingError(RunError):
    """A model cannot be served: clearml-serving refuses, does not start, or does not answer as the model does."""

    exit_code = 46
