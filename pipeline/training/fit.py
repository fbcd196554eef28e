"""A model from counts: passes over the training set, each in constant memory.

`bernoulli-nb` is scikit-learn's `BernoulliNB`: it needs no more than the number of rows of each class that have each
term, so that counting batch by batch gives the same numbers, and the same formulas the same model. `linear` is logistic
regression on TF-IDF with an L2 penalty (scikit-learn's with `C = 1 / alpha`), found by L-BFGS: its loss is a sum over
rows, so that it can be added up batch by batch too, with a pass over the features for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.frames import CLASSES
from pipeline.training.errors import TrainingDataError
from pipeline.training.model import BERNOULLI_NB, LINEAR, Model, tf_idf
from pipeline.training.tables import LABELS, Block, Floats, Integers

MAX_STEPS = 200
GRADIENT = 1e-6
"""The linear model is found when no slope of its mean loss is steeper."""


@dataclass
class Tally:
    """What a model needs to know of the rows: how many there are of each class, and how many of them have each term."""

    rows: Integers
    having: Integers

    @classmethod
    def empty(cls, features: int) -> Tally:
        """Begin to count."""
        return cls(np.zeros(len(LABELS), np.int64), np.zeros((len(LABELS), features), np.int64))

    def add(self, block: Block) -> None:
        """Count the rows of a block."""
        entry_class = np.repeat(block.classes, np.diff(block.counts.indptr))
        for place in range(len(LABELS)):
            self.rows[place] += int((block.classes == place).sum())
            terms = block.counts.indices[entry_class == place]
            self.having[place] += np.bincount(terms, minlength=self.having.shape[1])

    @property
    def idf(self) -> Floats:
        """Inverse document frequency of each term, smoothed as scikit-learn does."""
        smoothed: Floats = np.log((1 + self.rows.sum()) / (1 + self.having.sum(axis=0))) + 1
        return smoothed


def require_both_classes(rows: Integers, name: str) -> None:
    """Refuse a set with nothing in it, or with a class of which there is no review.

    Args:
        rows: The number of reviews of each class.
        name: What the set is called.

    Raises:
        TrainingDataError: There is nothing to learn from, or to measure with.
    """
    if not rows.sum():
        raise TrainingDataError(f"the {name} is empty", hint="name a dataset version that has reviews")
    absent = [label for label, count in zip(LABELS, rows, strict=True) if not count]
    if absent:
        missing = " and ".join(f"{CLASSES[label]} ({label})" for label in absent)
        raise TrainingDataError(
            f"the {name} has no {missing} review among its {int(rows.sum()):,}: a model needs both classes",
            hint="split a larger dataset version, with stratify=true",
        )


def fit(
    kind: str,
    terms: Sequence[str],
    tally: Tally,
    blocks: Callable[[], Iterable[Block]],
    *,
    alpha: float,
    facts: Mapping[str, Any],
) -> Model:
    """Return the model.

    Args:
        kind: `bernoulli-nb` or `linear`.
        terms: The features.
        tally: What was counted of the training set.
        blocks: Begins a pass over the training set's features.
        alpha: Smoothing, or strength of the penalty.
        facts: Kept in the model.
    """
    weights, intercepts = _bernoulli_nb(tally, alpha) if kind == BERNOULLI_NB else _linear(tally, blocks, alpha)
    return Model(kind, tuple(terms), tally.idf, weights, intercepts, facts)


def _bernoulli_nb(tally: Tally, alpha: float) -> tuple[Floats, Floats]:
    rows = tally.rows.astype(np.float64)
    present = np.log(tally.having + alpha) - np.log(rows + 2 * alpha)[:, None]
    absent = np.log(1 - np.exp(present))
    intercepts = np.log(rows) - np.log(rows.sum()) + absent.sum(axis=1)
    return np.ascontiguousarray((present - absent).T), intercepts


def _linear(tally: Tally, blocks: Callable[[], Iterable[Block]], alpha: float) -> tuple[Floats, Floats]:
    from scipy.optimize import minimize
    from scipy.special import expit

    idf, size = tally.idf, tally.having.shape[1]
    total = float(tally.rows.sum())

    def loss(point: Floats) -> tuple[float, Floats]:
        weights, intercept = point[:-1], point[-1]
        value, slope = alpha / 2 * float(weights @ weights), np.append(alpha * weights, 0.0)
        for block in blocks():
            features = tf_idf(block.counts, idf)
            side = 2.0 * block.classes - 1
            margin = side * (features @ weights + intercept)
            value += float(np.logaddexp(0, -margin).sum())
            pull = -side * expit(-margin)
            slope[:-1] += features.T @ pull
            slope[-1] += pull.sum()
        return value / total, slope / total

    found = minimize(
        loss, np.zeros(size + 1), jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS, "gtol": GRADIENT}
    )
    weights = np.zeros((size, len(LABELS)))
    weights[:, 1] = found.x[:-1]
    return weights, np.array([0.0, found.x[-1]])


KINDS = (BERNOULLI_NB, LINEAR)
