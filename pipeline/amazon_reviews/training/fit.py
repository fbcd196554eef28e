"""Estimators of scikit-learn, fed block by block, and their weights as a model.

`bernoulli-nb` is `BernoulliNB`, by `partial_fit`: it counts and nothing more, so that blocks give the same model as the
whole at once, in the memory of one block. `linear` is `LogisticRegression` on TF-IDF with `C = 1 / alpha`. Its solver
needs all rows, so that those stay in memory, 8 bytes for each term of a review: 0.6 GB for 3.6 million reviews, three
times that for a moment. (`SGDClassifier.partial_fit` would do without; but what it finds depends on the order of the
rows, on the cut into blocks and on a learning rate.)

Imported by what trains only: scikit-learn takes a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn import feature_extraction, linear_model, naive_bayes

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.training.errors import TrainingDataError
from pipeline.amazon_reviews.training.model import BERNOULLI_NB, LINEAR, Model
from pipeline.amazon_reviews.training.tables import LABELS, Block, Integers

MAX_STEPS = 1000
"""The linear model's solver needs some tens; a hundred, its default, is too few where `alpha` is tiny."""


class Learner(Protocol):
    """Takes in the training set, then makes a model of it."""

    def add(self, block: Block) -> None:
        """Take in a block."""

    def model(self, terms: Sequence[str], facts: Mapping[str, Any]) -> Model:
        """Return the model.

        Args:
            terms: The features.
            facts: Kept in the model.
        """


class _BernoulliNB:
    def __init__(self, alpha: float) -> None:
        self._estimator = naive_bayes.BernoulliNB(alpha=alpha)

    def add(self, block: Block) -> None:
        self._estimator.partial_fit(block.counts, block.classes, classes=range(len(LABELS)))

    def model(self, terms: Sequence[str], facts: Mapping[str, Any]) -> Model:
        fitted = self._estimator
        rows, having = fitted.class_count_.sum(), fitted.feature_count_.sum(axis=0)
        idf = np.log((1 + rows) / (1 + having)) + 1  # as TfidfTransformer's manual has it; that cannot be fed in parts
        # A term that a row has counts by the first, one that it has not by the second: as weights of those that it has.
        present, absent = fitted.feature_log_prob_, np.log1p(-np.exp(fitted.feature_log_prob_))
        intercepts = fitted.class_log_prior_ + absent.sum(axis=1)
        return Model(BERNOULLI_NB, tuple(terms), idf, (present - absent).T, intercepts, facts)


class _Linear:
    def __init__(self, alpha: float) -> None:
        self._estimator = linear_model.LogisticRegression(C=1 / alpha, max_iter=MAX_STEPS)
        self._counts: list[sparse.csr_matrix] = []
        self._classes: list[Integers] = []

    def add(self, block: Block) -> None:
        self._counts.append(block.counts)
        self._classes.append(block.classes)

    def model(self, terms: Sequence[str], facts: Mapping[str, Any]) -> Model:
        features = sparse.vstack(self._counts, format="csr")
        self._counts.clear()
        weighing = feature_extraction.text.TfidfTransformer().fit(features)
        features.data = features.data.astype(np.float32)  # in place, as what follows: the places stay where they are
        features = weighing.transform(features, copy=False)
        fitted = self._estimator.fit(features, np.concatenate(self._classes))
        weights, intercepts = np.zeros((len(terms), len(LABELS))), np.zeros(len(LABELS))
        weights[:, 1], intercepts[1] = fitted.coef_[0], fitted.intercept_[0]  # of the last class against the first
        return Model(LINEAR, tuple(terms), weighing.idf_, weights, intercepts, facts)


def learner(kind: str, alpha: float) -> Learner:
    """Return what learns a kind of model.

    Args:
        kind: `bernoulli-nb` or `linear`.
        alpha: Smoothing, or strength of the penalty.
    """
    return _BernoulliNB(alpha) if kind == BERNOULLI_NB else _Linear(alpha)


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
