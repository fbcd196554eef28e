"""What training and prediction refuse, each with its exit code."""

from __future__ import annotations

from pipeline.errors import DataError


class TrainingDataError(DataError):
    """Data that no model can be trained on or measured with: empty, of one class, or of the wrong kind."""

    exit_code = 28


class UnseenTextError(TrainingDataError):
    """Not one word of a text was seen in training."""


class ModelError(DataError):
    """A model does not exist, or its file is not one that this version reads."""

    exit_code = 29
